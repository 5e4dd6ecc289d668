package docker

import (
	"context"
	"errors"
	"time"

	"tidings/publisher"
)

const (
	// lookAgain is the pause before an engine is looked for again, which costs a
	// few system calls.
	lookAgain = 500 * time.Millisecond
	// lookAgainMost bounds the pause where engines are found that break at once,
	// such as one whose events a proxy forbids.
	lookAgainMost = 30 * time.Second
	// settled is how long an engine must have been followed to count as working.
	settled = 10 * time.Second
)

// Watch follows the engine, and looks for it while there is none, until ctx
// ends. That there is no engine is no error, so it never breaks by itself.
func (s *Source) Watch(ctx context.Context, emit publisher.Emit) error {
	known := newRoster()
	var at *position
	var absence absence
	pause := lookAgain
	for ctx.Err() == nil {
		engine, err := findEngine(ctx, s.endpoints)
		if err != nil {
			if ctx.Err() == nil {
				s.report(&absence, err)
				sleep(ctx, lookAgain)
			}
			continue
		}
		absence = ""
		if at == nil {
			at = newPosition(engine.clock)
		}
		s.logger.Info("following the container engine", "runtime", engine.runtime.Name, "version", engine.runtime.Version, "at", engine.url)
		found := time.Now()
		err = s.follow(ctx, engine, known, at, emit)
		engine.close()
		if ctx.Err() != nil {
			break
		}
		s.logger.Warn("lost the container engine, looking for it", "at", engine.url, "error", err)
		if time.Since(found) >= settled {
			pause = lookAgain
		}
		sleep(ctx, pause)
		pause = min(2*pause, lookAgainMost)
	}
	return ctx.Err()
}

// absence is why there is no engine, as far as it was logged.
type absence string

// report logs each reason once, not twice a second: as a warning where an
// operator has to do something.
func (s *Source) report(last *absence, err error) {
	if absence(err.Error()) == *last {
		return
	}
	*last = absence(err.Error())
	if errors.Is(err, errAbsent) {
		s.logger.Info("looking on for a container engine", "reason", err)
		return
	}
	s.logger.Warn("no container engine can be used, looking on", "error", err)
}

// sleep waits for d, or for ctx to end.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
