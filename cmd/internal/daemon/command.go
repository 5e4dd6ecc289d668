package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings/configs"
)

// Execute runs a command line and returns the exit code; an error has been written to stderr then. Whatever cobra itself
// finds wrong is a usage error.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = Version()
	root.SetFlagErrorFunc(nearestFlag)
	began := false
	whenRun(root, func() { began = true })

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil || errors.Is(err, syscall.EPIPE) { // a reader that had enough, as in `… | head`
		return ExitOK
	}
	if !began {
		err = WithCode(ExitUsage, fmt.Errorf("%w\nsee '%s --help'", err, cmd.CommandPath()))
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	return ExitCode(err)
}

// whenRun has told called as soon as a command's own code runs, that is, once the command line was right.
func whenRun(cmd *cobra.Command, told func()) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			told()
			return run(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		whenRun(child, told)
	}
}

// nearestFlag adds what was probably meant to pflag's error about a flag that does not exist.
func nearestFlag(cmd *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	if nearest := configs.Nearest(name, names); nearest != "" {
		return fmt.Errorf("%w, did you mean --%s?", err, nearest)
	}
	return err
}

// Configured makes cmd one that runs with a configuration: it gets the flags, among them --print-config.
func Configured[T any](cmd *cobra.Command, p configs.Program[T], check configs.Check[T], run func(cmd *cobra.Command, config T) error) {
	p.AddFlags(cmd.Flags())
	show := cmd.Flags().Bool("print-config", false, "print the configuration that would be used, passwords masked, and exit")
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		checks := []configs.Check[T]{check}
		if !*show {
			checks = append(checks, startable[T])
		}
		config, err := p.Load(cmd.Flags(), checks...)
		switch {
		case err != nil:
			return err
		case *show:
			return p.Print(cmd.OutOrStdout(), config)
		}
		return run(cmd, config)
	}
}

// startable asks a configuration that has something to say about it whether a program may start with it.
func startable[T any](config T) error {
	if c, ok := any(config).(interface{ Startable() error }); ok {
		return c.Startable()
	}
	return nil
}
