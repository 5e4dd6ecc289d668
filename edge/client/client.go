package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// Client holds subscriptions and, while Run runs, a connection that serves them.
// Its methods may be called by any goroutine, at any time.
type Client struct {
	cfg     Config
	changed chan struct{} // subscriptions were added or removed since the last look; holds one

	mu      sync.Mutex
	running bool
	subs    []*subscription // in the order they were asked for; the slice is never changed in place
}

// Options is how a pattern is wanted. The zero Options is live messages after what is retained of
// `latest` topics.
type Options struct {
	Since    *wire.Position // resume after this
	Last     int            // replay up to so many retained messages of each topic; 1 to wire.MaxLast
	LiveOnly bool           // nothing that is retained, live messages alone
	Interval time.Duration  // `latest` topics no more often than this; wire.MinInterval to wire.MaxInterval
}

// New makes a client that is not connected yet; Run connects it.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Client{cfg: cfg.withDefaults(), changed: make(chan struct{}, 1)}, nil
}

// Subscribe wants pattern, on this connection and all to come.
func (c *Client) Subscribe(pattern string, o Options) error {
	p, err := bus.ParsePattern(pattern)
	if err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.find(p) != nil {
		return fmt.Errorf("%s: already subscribed", p)
	}
	c.subs = append(slices.Clone(c.subs), newSubscription(p, o))
	c.wake()
	return nil
}

func (o Options) validate() error {
	var faults []error
	if o.Last < 0 || o.Last > wire.MaxLast {
		faults = append(faults, fmt.Errorf("last: %d is not within 1 to %d", o.Last, wire.MaxLast))
	}
	if o.Interval != 0 && (o.Interval < wire.MinInterval || o.Interval > wire.MaxInterval) {
		faults = append(faults, fmt.Errorf("interval: %s is not within %s to %s", o.Interval, wire.MinInterval, wire.MaxInterval))
	}
	if o.Since != nil && o.Since.Epoch == "" {
		faults = append(faults, errors.New("since: has no epoch"))
	}
	return errors.Join(faults...)
}

// Unsubscribe no longer wants pattern. Messages that are on their way may still come.
func (c *Client) Unsubscribe(pattern string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.find(bus.Pattern(pattern))
	if s == nil {
		return fmt.Errorf("%s: not subscribed", pattern)
	}
	c.remove(s)
	c.wake()
	return nil
}

// Position is where a subscription stands: all before it has been handled. With it as Options.Since
// another Client goes on. false: nothing is known yet.
func (c *Client) Position(pattern string) (wire.Position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.find(bus.Pattern(pattern))
	if s == nil || s.position.Epoch == "" {
		return wire.Position{}, false
	}
	return s.position, true
}

// Run connects, and connects again whenever a connection is lost, until ctx ends
// (then it returns nil) or the edge says that this client should stay away
// (then it returns a *ClosedError or a *RefusedError).
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return errors.New("this client runs already")
	}
	c.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}()
	return newRun(c).loop(ctx)
}

// subscriptions is what is wanted now.
func (c *Client) subscriptions() []*subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs
}

// drop removes a subscription that the edge refuses, if it is still wanted.
func (c *Client) drop(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(s)
}

// find needs mu.
func (c *Client) find(p bus.Pattern) *subscription {
	for _, s := range c.subs {
		if s.pattern == p {
			return s
		}
	}
	return nil
}

// remove needs mu.
func (c *Client) remove(s *subscription) {
	c.subs = slices.DeleteFunc(slices.Clone(c.subs), func(other *subscription) bool { return other == s })
}

func (c *Client) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
