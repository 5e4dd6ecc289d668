package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/daemon"
	"tidings/edge/auth/mint"
)

func tokenKeyCommand() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use:   "key FILE",
		Short: "Make a fresh secret or key pair",
		Long: `Makes a key that tokens can be made with, and writes it into FILE, for your eyes only. For HS256, HS384 and HS512 that is a secret:
edges need the same file (tokens.secret_files). For the others it is a private key, and the public one goes into FILE.pub:
edges need that one alone (tokens.key_files). What is there already is not overwritten.

` + tokenExits,
		Example: `  tidings token key secret
  tidings token key --algorithm EdDSA signing.pem     and signing.pem.pub for the edges`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			private, public, err := mint.NewKey(algorithm)
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, fmt.Errorf("--algorithm: %w", err))
			}
			if err := writeNew(args[0], private, 0o600); err != nil {
				return err
			}
			say := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
			if public == nil {
				say("a secret is in %s: edges verify with the same file, --token-secret-file %s", args[0], args[0])
				return nil
			}
			if err := writeNew(args[0]+".pub", public, 0o644); err != nil {
				return errors.Join(err, os.Remove(args[0]))
			}
			say("the private key is in %s, the public one for edges in %s.pub: --token-key-file %s.pub", args[0], args[0], args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "HS256", "`ALG` of tokens that it is to sign: HS256, RS256, PS256, ES256, EdDSA…")
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return daemon.WithCode(daemon.ExitUsage, fmt.Errorf("%w: remove it, or choose another name", err))
	}
	if err != nil {
		return daemon.WithCode(daemon.ExitUsage, err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
