package daemon

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Program is a whole program, so that tests can run it: arguments with its own name first, its streams, its exit code.
type Program func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Main runs a program as the process and never returns.
func Main(run Program) {
	// A reader that went away ends a write with an error, not the process: a daemon outlives whoever read its log.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := Signals(context.Background(), os.Exit)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Signals returns a context that ends with the first SIGINT or SIGTERM. The second one calls exit at once, with the code
// a shell would show for it (130, 143). The returned function gives the signals back and waits for the goroutine.
func Signals(parent context.Context, exit func(code int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for count := 0; ; count++ {
			select {
			case s := <-signals:
				if count > 0 {
					exit(signalCode(s))
				}
				cancel()
			case <-quit:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(quit)
		<-ended
		cancel()
	}
}

func signalCode(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return ExitFailure
}
