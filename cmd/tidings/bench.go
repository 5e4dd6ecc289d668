package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings/cmd/internal/bench"
	"tidings/cmd/internal/daemon"
)

func benchCommand() *cobra.Command {
	var config bench.Config
	var name, format, svg string
	var list bool
	var who *bearer
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure an edge: what it delivers, how fast, and what that costs",
		Long: `Opens many clients to an edge, publishes messages to NATS on a schedule, and measures when they arrive.

Latency counts from the time at which a message was due, not from when it was sent: an edge that holds everything up for a
moment does not look better for it (coordinated omission). Every message is checked by its seq and prev: the result says
whether each one came once and in order. With --pid, where the edge runs on this machine, it says what the edge paid for it:
CPU time per delivery and per connect, and how much its memory grew per connection, which is right for an edge that was just started.

The topics are the bench's own, bench.> for a token, and lapse a minute after it. The stream that they go through is everybody's: large messages
at a high rate push older ones out of a bounded stream.

` + "`tidings bench --list`" + ` shows standing scenarios, to be had by --name; flags that are given win over theirs. --floor measures
not an edge but the least a server can do: it starts a process that does the handshake, and then one write for each client
with all that NATS brought. What an edge costs in multiples of that is a figure that travels from machine to machine.

` + toolExits,
		Example: `  tidings bench --clients 1000 --rate 300
  tidings bench --name dashboards --pid $(pidof edge)
  tidings bench --name dashboards --floor                      the same load on the least a server can do
  tidings bench --clients 10000 --subscriptions 5 --topics 100 --rate 0 --pid $(pidof edge)    memory of idle clients
  tidings bench --format hgrm > latency.hgrm; tidings bench --svg latency.svg`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return listScenarios(cmd.OutOrStdout())
			}
			write, err := benchFormat(format)
			if err == nil {
				err = errors.Join(refuseZero(cmd.Flags()), canWrite("svg", svg))
			}
			if err == nil && name != "" {
				err = takeScenario(&config, name, cmd.Flags())
			}
			if err == nil {
				err = config.Validate()
			}
			if err == nil {
				config.Token, err = who.once(cmd.Context())
			}
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			return runBench(cmd.Context(), config, write, svg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.AddCommand(benchReportCommand(), benchServeCommand())
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&config.URLs, "url", []string{environment("TIDINGS_URL", defaultURL)}, "`URL` of the edge's WebSocket; several take the clients in turn (TIDINGS_URL)")
	who = bearerFlags(cmd)
	natsFlags(flags, &config.NATS)
	flags.StringVar(&name, "name", "", "standing `SCENARIO`, see --list")
	flags.BoolVar(&list, "list", false, "list the standing scenarios")
	scenarioFlags(flags, &config.Scenario)
	flags.IntSliceVar(&config.PIDs, "pid", nil, "measure what this edge's `PROCESS` on this machine pays")
	flags.BoolVar(&config.Floor, "floor", false, "measure the least a server can do, instead of an edge")
	flags.StringVar(&format, "format", "table", "table, json, or hgrm: the latency for HdrHistogram's tools")
	flags.StringVar(&svg, "svg", "", "draw the latency as a picture for browsers, into `FILE`")
	return cmd
}

// scenarioFlags are those that say how heavy a load is, with the defaults of a small one.
func scenarioFlags(flags *pflag.FlagSet, s *bench.Scenario) {
	flags.IntVar(&s.Clients, "clients", 1000, "clients that connect")
	flags.IntVar(&s.Topics, "topics", 1, "topics that messages are published to, in turn")
	flags.IntVar(&s.Subscriptions, "subscriptions", 1, "topics that each client subscribes to")
	flags.Float64Var(&s.Rate, "rate", 10, "messages per second over all topics; 0: none, the clients are idle")
	flags.IntVar(&s.Burst, "burst", 1, "messages that are due at the same moment")
	flags.IntVar(&s.Size, "size", 512, "bytes of a payload")
	flags.DurationVar(&s.Duration, "duration", 10*time.Second, "measure for this `TIME`")
	flags.DurationVar(&s.Warmup, "warmup", 2*time.Second, "publish for this `TIME` before that")
	flags.Float64Var(&s.ConnectRate, "connect-rate", 0, "connections per second; 0: as many as the edge takes")
	flags.Float64Var(&s.Slow, "slow", 0, "`SHARE` of the clients that do not read, 0.1 for one in ten")
	flags.BoolVar(&s.Deflate, "deflate", false, "clients ask for compression (permessage-deflate)")
	flags.IntVar(&s.Storm, "storm", 0, "clients that connect all at once, a third of --duration into it")
	flags.Float64Var(&s.Churn, "churn", 0, "subscribes and unsubscribes per second, of other clients")
	flags.StringVar(&s.Topic, "topic", "bench", "`TYPE` of the topics; of metrics, host, containers and container-stats only the newest counts")
}

// takeScenario makes the load the one of that name, except for what flags say.
func takeScenario(config *bench.Config, name string, flags *pflag.FlagSet) error {
	standard, err := bench.Named(name)
	if err != nil {
		return err
	}
	// Making the flags writes their defaults; those that were given then write once more, into the standard one.
	var scenario bench.Scenario
	again := pflag.NewFlagSet("", pflag.ContinueOnError)
	scenarioFlags(again, &scenario)
	scenario = standard.Scenario
	flags.Visit(func(given *pflag.Flag) {
		if f := again.Lookup(given.Name); f != nil {
			err = errors.Join(err, f.Value.Set(given.Value.String()))
			scenario.Name = "" // it is another load now
		}
	})
	config.Scenario = scenario
	return err
}

// refuseZero tells of flags that were given as zero where a Config has that for its default.
func refuseZero(flags *pflag.FlagSet) error {
	var faults []error
	for _, name := range []string{"clients", "topics", "subscriptions", "burst", "size", "duration"} {
		if f := flags.Lookup(name); f != nil && f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			faults = append(faults, fmt.Errorf("--%s: must be above 0", name))
		}
	}
	return errors.Join(faults...)
}

// canWrite says before minutes of measuring whether a flag's file can be written after them. What is in it stays until then.
func canWrite(flag, name string) error {
	if name == "" {
		return nil
	}
	_, missing := os.Stat(name)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	err = file.Close()
	if missing != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func listScenarios(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range bench.Standing {
		fmt.Fprintf(table, "%s\t%s\n\t%s\n", s.Name, s.What, s.Scenario)
	}
	return table.Flush()
}

// benchFormat is how a result is written.
func benchFormat(name string) (func(io.Writer, *bench.Result) error, error) {
	switch name {
	case "table":
		return bench.WriteTable, nil
	case "hgrm":
		return bench.WriteHgrm, nil
	case "json":
		return func(w io.Writer, r *bench.Result) error {
			text, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%s\n", text)
			return err
		}, nil
	}
	return nil, fmt.Errorf("--format: %q is none of table, json, hgrm", name)
}

// runBench measures and writes.
func runBench(ctx context.Context, config bench.Config, write func(io.Writer, *bench.Result) error, svg string, stdout, stderr io.Writer) error {
	config.NATS.Logger = slog.New(slog.DiscardHandler)
	if daemon.IsTerminal(stderr) {
		p := &progressLine{w: stderr}
		config.Progress = p.show
		defer p.clear()
	}
	if config.Floor {
		args := append([]string{"bench", "serve", "floor"}, natsArgs(config.NATS)...)
		if config.Topic != "" { // a scenario leaves it out where it is the usual one
			args = append(args, "--topic", config.Topic)
		}
		floor, err := bench.StartChild(ctx, args...)
		if err != nil {
			return daemon.WithCode(daemon.ExitUnavailable, err)
		}
		defer floor.Stop()
		config.URLs, config.PIDs = []string{"ws://" + floor.Address + "/"}, []int{floor.PID}
	}
	result, err := bench.Run(ctx, config)
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(stderr, "stopped before anything was measured")
		return nil
	}
	if err != nil {
		return benchError(err)
	}
	result.Version = "tidings " + daemon.Version()
	if p := config.Progress; p != nil {
		fmt.Fprint(stderr, clearLine)
	}
	if err := write(stdout, result); err != nil {
		return err
	}
	if svg != "" {
		if err := writeFile(svg, func(w io.Writer) error { return bench.WriteSVG(w, result) }); err != nil {
			return err
		}
	}
	return result.Fault()
}

// benchError says what to do about what could not be measured.
func benchError(err error) error {
	var advice string
	switch {
	case errors.Is(err, bench.ErrNoEdge):
		advice = "start one with `tidings run`, or name another with --url"
	case errors.Is(err, bench.ErrNoNATS):
		advice = "start one with `tidings run`, or name another with --nats"
	case errors.Is(err, bench.ErrNoDescriptors): // which says what to do itself
		return daemon.WithCode(daemon.ExitUnavailable, err)
	default:
		return err
	}
	return daemon.WithCode(daemon.ExitUnavailable, fmt.Errorf("%w\n%s", err, advice))
}

func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// progressLine shows the progress of a run in one line of a terminal.
type progressLine struct{ w io.Writer }

const clearLine = "\r\x1b[K"

func (p *progressLine) show(now bench.Progress) { fmt.Fprint(p.w, clearLine, now) }
func (p *progressLine) clear()                  { fmt.Fprint(p.w, clearLine) }
