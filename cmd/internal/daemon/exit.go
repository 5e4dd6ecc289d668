package daemon

import (
	"errors"

	"tidings/configs"
)

// Exit codes, those from 64 up as in sysexits.h.
const (
	ExitOK          = 0  // done, or stopped as asked
	ExitFailure     = 1  // it failed while it ran
	ExitUsage       = 2  // the command line is wrong
	ExitNothing     = 3  // there is nothing that matches
	ExitData        = 65 // EX_DATAERR: the input is wrong
	ExitUnavailable = 75 // EX_TEMPFAIL: something it needs is taken or away; the same command may work later
	ExitConfig      = 78 // EX_CONFIG: the configuration is wrong
)

// ExitCodes is the list as --help shows it.
const ExitCodes = `Exit codes:
  0        done, or stopped by SIGINT or SIGTERM as asked
  1        failed while it ran
  2        the command line is wrong
  75       something it needs is taken or away (a port, NATS): the same may work later
  78       the configuration is wrong; every fault of it is named
  130 143  stopped at once by a second SIGINT or SIGTERM`

// WithCode gives an error the exit code that tells it.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// ExitCode is what a script learns from the outcome of a command.
func ExitCode(err error) int {
	var coded *codedError
	var faults configs.Faults
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &faults):
		return ExitConfig
	}
	return ExitFailure
}
