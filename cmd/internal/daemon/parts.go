package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Part is one long-running piece of a program.
type Part struct {
	Name string
	Run  func(ctx context.Context) error // until ctx ends; nil then
}

// Run runs parts side by side until ctx ends or one of them returns. Then each is told to stop in reverse order, after
// the one before it has ended: what others need goes last. The result is the error of those that failed.
func Run(ctx context.Context, logger *slog.Logger, parts ...Part) error {
	running := make([]*runningPart, len(parts))
	returned := make(chan struct{}, len(parts))
	for i, part := range parts {
		running[i] = start(context.WithoutCancel(ctx), part, returned)
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping")
	case <-returned:
	}
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		if err := running[i].stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", parts[i].Name, err))
		}
		logger.Debug("stopped", "part", parts[i].Name)
	}
	return errors.Join(errs...)
}

type runningPart struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed after err was written
	err    error
}

func start(ctx context.Context, part Part, returned chan<- struct{}) *runningPart {
	ctx, cancel := context.WithCancel(ctx)
	r := &runningPart{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		defer func() { returned <- struct{}{} }()
		r.err = part.Run(ctx)
		if ctx.Err() != nil && errors.Is(r.err, context.Canceled) {
			r.err = nil // it was told to
		}
	}()
	return r
}

func (r *runningPart) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}
