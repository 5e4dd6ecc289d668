package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// retryBase starts the backoff of a failing source. One that beats as often
	// as that needs no retry: its next beat is one.
	retryBase = 2 * time.Second
	// watchBase and watchCap bound the pause before a broken watch starts again.
	// A watch that lasted as long as the cap counts as having worked.
	watchBase = 500 * time.Millisecond
	watchCap  = 30 * time.Second
	// repeatLog is how often a failure that lasts is logged again.
	repeatLog = time.Minute
)

// worker runs one source: a goroutine for its beats and, if it is a Watcher,
// another for its watch. Nothing that a source does reaches another one.
type worker struct {
	source  Source
	emit    Emit
	metrics sourceMetrics
	logger  *slog.Logger
	first   func() // told once, when the first beat has ended
}

// beat reads the source on a fixed grid of start + n·interval until ctx ends. A
// beat that is still running when the next one is due makes that one be missed.
func (w *worker) beat(ctx context.Context) {
	interval, start := w.source.Interval(), time.Now()
	place := 0 // on the grid, of the beat that is due
	failing := trouble{logger: w.logger, what: "source fails"}
	var retry backoff
	for ctx.Err() == nil {
		err := w.read(ctx)
		if ctx.Err() != nil {
			return // an error now is the stop's
		}
		failing.report(err)
		if w.first != nil {
			w.first()
			w.first = nil
		}
		passed := int(time.Since(start) / interval)
		w.metrics.missed.Add(float64(passed - place))
		place = passed

		wait := time.Until(start.Add(time.Duration(place+1) * interval))
		if err == nil {
			retry = backoff{}
		} else if interval > retryBase {
			if pause := retry.next(retryBase, interval); pause < wait {
				sleep(ctx, pause) // and beat off the grid, which stays as it is
				continue
			}
		}
		sleep(ctx, wait)
		place++
	}
}

// read is one beat, timed and counted.
func (w *worker) read(ctx context.Context) error {
	start := time.Now()
	err := w.guard(func() error { return w.source.Read(ctx, w.emit) })
	if ctx.Err() != nil {
		return err
	}
	now := time.Now()
	w.metrics.duration.Observe(now.Sub(start).Seconds())
	if err != nil {
		w.metrics.failures.Inc()
		return err
	}
	w.metrics.succeededAt(now)
	return nil
}

// watch runs the watch until ctx ends, and starts it again whenever it breaks.
func (w *worker) watch(ctx context.Context, source Watcher) {
	breaking := trouble{logger: w.logger, what: "watch broke, starting it again"}
	var pause backoff
	for {
		start := time.Now()
		err := w.guard(func() error { return source.Watch(ctx, w.emit) })
		if ctx.Err() != nil {
			return
		}
		w.metrics.breaks.Inc()
		if time.Since(start) >= watchCap {
			pause = backoff{}
			breaking.report(nil)
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		breaking.report(err)
		sleep(ctx, pause.next(watchBase, watchCap))
		if ctx.Err() != nil {
			return
		}
	}
}

// guard turns a panic into an error. What other goroutines of the source do is
// beyond its reach, as it is beyond Go's.
func (w *worker) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.metrics.panics.Inc()
			err = panicked{value: p, stack: debug.Stack()}
		}
	}()
	return f()
}

// panicked is a panic as an error.
type panicked struct {
	value any
	stack []byte
}

func (p panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// sleep waits for d, or for ctx to end.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
