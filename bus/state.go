package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State is how the line to NATS and the stream behind it are doing.
type State struct {
	Connected bool      // the line is up
	Since     time.Time // when Connected last changed
	Epoch     string    // of the stream as last seen; "" while it is not there or not usable
}

// State is the latest one that OnState was told.
func (c *Conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Ready is nil when the line is up and the stream is there, else it says why not.
func (c *Conn) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case !c.state.Connected && c.lineErr != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, c.lineErr)
	case !c.state.Connected:
		return ErrUnavailable
	case c.state.Epoch == "" && c.streamErr != nil:
		return c.streamErr
	case c.state.Epoch == "":
		return fmt.Errorf("%w yet", ErrNoStream)
	}
	return nil
}

// Changed is closed when State next changes, or c is closed. Who waits for changes takes it before looking at State.
func (c *Conn) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// WaitReady returns once Ready is nil, or when ctx ends: then with the reason for which it was not.
func (c *Conn) WaitReady(ctx context.Context) error {
	for {
		changed := c.Changed()
		err := c.Ready()
		if err == nil || errors.Is(err, ErrClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for NATS: %w (%w)", c.Ready(), ctx.Err())
		case <-changed:
		}
	}
}

// setState changes the state and tells who asked to know. Lock order: telling, then mu.
func (c *Conn) setState(change func(*State)) (changed bool) {
	c.telling.Lock()
	defer c.telling.Unlock()

	c.mu.Lock()
	before := c.state
	change(&c.state)
	after := c.state
	if before.Connected != after.Connected {
		after.Since = time.Now()
		c.state.Since = after.Since
	}
	if before.Connected != after.Connected {
		c.breakUp(ErrUnavailable)
		c.up, c.breakUp = context.WithCancelCause(context.Background())
	}
	if before != after {
		c.broadcast()
	}
	c.mu.Unlock()

	c.metrics.setState(after)
	if before != after && c.cfg.OnState != nil {
		c.cfg.OnState(after)
	}
	return before != after
}

// isUp is done when the line breaks; an error when it is broken now.
func (c *Conn) isUp() (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if !c.state.Connected {
		return nil, ErrUnavailable
	}
	return c.up, nil
}

// whileUp bounds ctx by the line, for which its cause then is ErrUnavailable, and by callTimeout if it has no deadline:
// a call that has lost its answer would wait for ever.
func (c *Conn) whileUp(ctx context.Context) (context.Context, context.CancelFunc, error) {
	up, err := c.isUp()
	if err != nil {
		return nil, nil, err
	}
	ctx, end := withTimeout(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	unbind := context.AfterFunc(up, func() { cancel(ErrUnavailable) })
	return ctx, func() {
		unbind()
		cancel(nil)
		end()
	}, nil
}

// orCause is err, or what ended ctx if that was the line.
func orCause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrUnavailable) {
		return ErrUnavailable
	}
	return err
}

// broadcast wakes all who wait for a change. mu is held.
func (c *Conn) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}
