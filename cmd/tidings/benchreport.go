package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/bench"
	"tidings/cmd/internal/daemon"
)

// benchReportCommand is `tidings bench report`.
func benchReportCommand() *cobra.Command {
	var config bench.ReportConfig
	var names []string
	var change bench.Scenario
	var out, svg string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Measure the standing set on a NATS and an edge of its own",
		Long: `Measures the standing scenarios, each several times on a fresh NATS and a fresh edge and in turn with the floor, and writes
the medians with their spread as Markdown. A round takes some nine minutes, in which nothing else should use the machine;
--repeat says how many there are.

` + toolExits,
		Example: `  tidings bench report --out BENCHMARKS.md --svg BENCHMARKS.svg
  tidings bench report --edge bin/edge --name idle   the program that is installed
  tidings bench report --repeat 1 --name busy        a first impression`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range names {
				s, err := bench.Named(name)
				if err != nil {
					return daemon.WithCode(daemon.ExitUsage, err)
				}
				config.Scenarios = append(config.Scenarios, s)
			}
			if config.Repeat < 1 {
				return daemon.WithCode(daemon.ExitUsage, fmt.Errorf("--repeat: %d must be at least 1", config.Repeat))
			}
			if err := errors.Join(refuseZero(cmd.Flags()), canWrite("out", out), canWrite("svg", svg)); err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			given := cmd.Flags().Changed
			config.Change = func(s *bench.Scenario) {
				if given("clients") {
					s.Clients = change.Clients
				}
				if given("duration") {
					s.Duration = change.Duration
				}
				if given("warmup") {
					s.Warmup = change.Warmup
				}
			}
			config.Version = "tidings " + daemon.Version()
			config.Progress = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
			report, err := bench.MakeReport(cmd.Context(), config)
			switch {
			case cmd.Context().Err() != nil:
				return daemon.WithCode(daemon.ExitUnavailable, fmt.Errorf("stopped before all was measured"))
			case err != nil:
				return benchError(err)
			}
			if svg != "" {
				if err := writeFile(svg, report.WriteSVG); err != nil {
					return err
				}
			}
			if out != "" {
				return writeFile(out, report.WriteMarkdown)
			}
			return report.WriteMarkdown(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringSliceVar(&names, "name", nil, "standing `SCENARIO`s, rather than the usual ones")
	cmd.Flags().StringVar(&config.Edge, "edge", "", "`PROGRAM` of the edge, rather than this one, which has a NATS in it that does something each second, used or not")
	cmd.Flags().IntVar(&config.Repeat, "repeat", 5, "measurements of each, of which the median counts")
	cmd.Flags().IntVar(&change.Clients, "clients", 0, "clients of each scenario, rather than its own number")
	cmd.Flags().DurationVar(&change.Duration, "duration", 0, "measure each for this `TIME`, rather than its own")
	cmd.Flags().DurationVar(&change.Warmup, "warmup", 0, "publish for this `TIME` before that, rather than its own")
	cmd.Flags().DurationVar(&config.Settle, "settle", 3*time.Second, "rest for this `TIME` before memory is read")
	cmd.Flags().StringVar(&out, "out", "", "write into `FILE` instead of standard output")
	cmd.Flags().StringVar(&svg, "svg", "", "draw the latencies into `FILE`")
	return cmd
}
