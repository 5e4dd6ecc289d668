package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/daemon"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make keys and tokens to try things out, and explain tokens",
		Long: `Tokens (JWTs) say who a client is and what it may do. An application of yours, or a login service, makes them; these commands make
some to try an edge with, and show what a token says and whether an edge would take it.

` + tokenExits,
		Example: `  tidings token key secret                                       make a secret, into the file of that name
  tidings token make --key secret --sub ada --subscribe 'metrics.>' > token
  tidings token explain --token-secret-file secret < token
  edge --token-secret-file secret                                an edge that takes it
  tidings sub --token-file token 'metrics.>'`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(tool(tokenKeyCommand()), tool(tokenMakeCommand()), tool(tokenExplainCommand()))
	return cmd
}

// tokenExits is how these commands end, as their --help shows it.
const tokenExits = `Exit codes:
  0   done; explain: the token is good, or there were no keys to tell
  1   explain: the token is not good
  2   the command line is wrong
  65  the input is no token or no key
  75  explain: the issuer's keys cannot be had now
  78  the configuration is wrong`

// input opens a file, or standard input for "-".
func input(cmd *cobra.Command, path, what string) (io.ReadCloser, error) {
	if path != "-" {
		file, err := os.Open(path)
		return file, daemon.WithCode(daemon.ExitUsage, err)
	}
	if f, ok := cmd.InOrStdin().(*os.File); ok && daemon.IsTerminal(f) {
		fmt.Fprintf(cmd.ErrOrStderr(), "reading %s from standard input; ctrl-D ends it\n", what)
	}
	return io.NopCloser(cmd.InOrStdin()), nil
}
