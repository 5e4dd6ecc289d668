package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/daemon"
	"tidings/edge/auth"
)

// bearer is where a tool's token comes from.
type bearer struct {
	token string
	file  string
}

// bearerFlags adds --token and --token-file. A token on the command line can be read by others, in the list of processes and in the
// shell's history; that is said.
func bearerFlags(cmd *cobra.Command) *bearer {
	b := new(bearer)
	cmd.Flags().StringVar(&b.file, "token-file", "", "`FILE` with the token to show, read anew for each connection")
	cmd.Flags().StringVar(&b.token, "token", "", "the `TOKEN` itself; better --token-file or TIDINGS_TOKEN, which a shell does not remember")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
	return b
}

// source is what gives the token for the next connection; nil: there is none to show. The file's is read anew, so that whoever
// renews it there needs to tell nobody.
func (b *bearer) source() func(context.Context) (string, error) {
	switch fixed := b.fixed(); {
	case b.file != "":
		return func(context.Context) (string, error) { return readToken(b.file) }
	case fixed != "":
		return func(context.Context) (string, error) { return fixed, nil }
	}
	return nil
}

func (b *bearer) fixed() string {
	if b.token == "" {
		return strings.TrimSpace(os.Getenv("TIDINGS_TOKEN"))
	}
	return strings.TrimSpace(b.token)
}

// once is the token for a tool that connects but once; empty: there is none to show.
func (b *bearer) once(ctx context.Context) (string, error) {
	source := b.source()
	if source == nil {
		return "", nil
	}
	token, err := source(ctx)
	return token, daemon.WithCode(daemon.ExitUsage, err)
}

// howToShow says to whom an edge has refused how these tools show a token.
const howToShow = "--token-file FILE or TIDINGS_TOKEN shows one; `tidings token explain` says what is in it"

// maxTokenFile bounds what is read as a token, in bytes.
const maxTokenFile = 64 << 10

func readToken(path string) (string, error) {
	if err := noToken(path); err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	token, err := tokenFrom(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// noToken tells who gave a token in place of the name of its file, which is soon done, and does not repeat it.
func noToken(path string) error {
	if _, _, err := auth.Peek(path); err != nil {
		return nil
	}
	return errors.New("that is a token itself, which whoever sees the command line can use: " +
		"put it into a file and give that one's name, or into TIDINGS_TOKEN")
}

func tokenFrom(input io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(input, maxTokenFile+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	switch {
	case token == "":
		return "", errors.New("holds no token")
	case len(content) > maxTokenFile, strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", errors.New("holds something else than a token") // and would break the header that it is sent in
	}
	return token, nil
}
