// Package daemon is what the programs share around their work: the command line, signals, the logger, the operator's
// port, the order in which parts start and stop, and exit codes.
//
// # The way of a program
//
//	main.go    Main: signals become a context, run's result the exit code
//	command.go Execute: cobra parses; Configured loads configs, prints them for --print-config, or runs
//	logger.go  NewLogger: text on a terminal, JSON elsewhere
//	listen.go  ports, and what to do when one is taken
//	bus.go     the line to NATS that a configuration describes
//	metrics.go the registry, with what every program tells about itself
//	admin.go   ListenAdmin opens the operator's port; Admin.Run is one of the parts
//	parts.go   Run: parts start in order and stop in reverse; each is waited for
//	exit.go    ExitCode: what a script learns from the outcome
//
// # Goroutines
//
// Signals has one until its stop is called. Run has one for each part, and returns when all have ended. Admin has one
// that net/http starts per request; its Run closes them all.
//
// # Promises
//
//   - the first signal stops cleanly, the second at once: TestSignals_FirstCancelsSecondExits
//   - parts stop in reverse order, each after the one before has ended: TestRun_StopsInReverseOrder
//   - one part that fails stops all, and its error is the result: TestRun_FailingPartStopsAll
//   - /livez looks at nothing, /readyz says why not: TestAdmin_LiveWhileNotReady
//   - a misspelt flag is a usage error that names the nearest: TestExecute_ExitCodes
//   - a taken port says what to do next: TestListen_TakenPortSaysWhatToDo
//
// # What it refuses to do
//
// It writes no pid files, daemonises nothing and restarts nothing: that is the init system's.
package daemon
