// Command tidings is everything in one process (`tidings run`), and the operator's tools: sub, pub, last, bench and token.
//
// Each command is a file: run.go starts NATS, an edge and a publisher in that order and stops them in reverse; sub.go
// follows topics by edge/client; last.go asks an edge's /last once; pub.go publishes straight to NATS; bench.go measures;
// token.go and its like make and explain tokens. bearer.go is where the tools' own token comes from, line.go how they print
// a message. What a configuration can say is in package configs, what all programs share in cmd/internal.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/daemon"
	"tidings/configs"
)

func main() { daemon.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := runCommand(args[0])
	root.Use = "tidings"
	root.Args = nil // so that cobra says which command was probably meant
	root.Long = `Tidings shows the state of machines and containers live, on people's screens.

Without a command it is ` + "`tidings run`" + `: NATS, an edge and a publisher in this one process, no configuration needed.
The other commands are tools that talk to it, or to a cluster of the programs edge and publisher.`
	root.Example = `  tidings                                    start everything, then open http://127.0.0.1:8080/
  tidings sub 'metrics.>' 'containers.>'     see what comes, as it comes
  tidings sub --json 'container-events.*'    for scripts: one JSON message a line
  tidings pub demo.hello '{"text":"hi"}'     publish a message of your own
  tidings last 'host.*'                      what is known of each host now`
	root.AddCommand(runCommand(args[0]), tool(subCommand()), tool(lastCommand()), tool(pubCommand()), tool(benchCommand()), tokenCommand())
	return daemon.Execute(ctx, root, append([]string{filepath.Base(args[0])}, args[1:]...), stdin, stdout, stderr)
}

// tool makes a command refuse misspelt names in the environment, as those do that load a configuration.
func tool(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := configs.CheckEnvironment(os.Environ()); err != nil {
			return daemon.WithCode(daemon.ExitConfig, err)
		}
		return run(cmd, args)
	}
	return cmd
}

// toolExits is how the tools end, as their --help shows it.
const toolExits = `Exit codes:
  0   done, stopped by ctrl-C, or the reader of the output had enough
  1   failed or was refused
  2   the command line is wrong
  3   nothing matches (last)
  65  the input is no JSON, or too large (pub)
  75  the edge or NATS cannot be reached now; the same may work later
  78  the environment has a TIDINGS_ name that nothing knows`
