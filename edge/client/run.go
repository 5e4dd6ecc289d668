package client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"tidings/edge/wire"
)

// run is one Run of a Client. All of it belongs to the goroutine of loop.
type run struct {
	client     *Client
	cfg        *Config
	httpClient *http.Client
	wg         sync.WaitGroup
	events     chan event

	current   *line       // what the user hears; nil: none
	next      *line       // being dialled, or open and not yet serving all that current does; nil: none
	due       *time.Timer // for the next dial
	scheduled bool        // due is set
	again     *time.Timer // for subscriptions that the edge could not take yet
	backoff   backoff     // between dials
	patience  backoff     // between tries of what again is for
	connected bool        // some line was open once

	epoch  string // of what topics holds; empty: not known
	topics map[string]*topic
	gone   int // topics of which the last message said so
}

// maxGone is how many topics that are gone are remembered, at least, so that a duplicate of that news can be told.
const maxGone = 1000

func newRun(c *Client) *run {
	r := &run{
		client:     c,
		cfg:        &c.cfg,
		httpClient: c.cfg.HTTPClient,
		events:     make(chan event),
		due:        time.NewTimer(0),
		scheduled:  true,
		again:      time.NewTimer(time.Hour),
		backoff:    backoff{base: c.cfg.BackoffBase, cap: c.cfg.BackoffCap},
		patience:   backoff{base: c.cfg.BackoffBase, cap: c.cfg.BackoffCap},
		topics:     map[string]*topic{},
	}
	r.again.Stop()
	return r
}

func (r *run) loop(ctx context.Context) error {
	if r.httpClient == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		r.httpClient = &http.Client{Transport: transport}
	}
	// Lines outlive ctx by the moment that a close handshake takes.
	lines, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		r.due.Stop()
		r.again.Stop()
		for _, l := range []*line{r.current, r.next} {
			if l != nil {
				l.leave(&r.wg)
			}
		}
		r.wg.Wait()
		cancel()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.due.C:
			r.scheduled = false
			r.next = startLine(lines, r.cfg, r.httpClient, &r.wg, r.events)
		case <-r.client.changed:
			r.sync(ctx)
		case <-r.again.C:
			r.sync(ctx)
		case e := <-r.events:
			if err := r.take(ctx, e); err != nil {
				return err
			}
		}
	}
}

func (r *run) take(ctx context.Context, e event) error {
	l := e.line
	switch {
	case l != r.current && l != r.next:
		return nil // told before it was left
	case e.err != nil:
		return r.ended(l, e.err)
	case e.message == nil:
		r.opened(ctx, l)
		return nil
	}
	r.message(ctx, l, *e.message, e.text)
	if l == r.next && len(l.requests) == 0 {
		r.promote()
	}
	return nil
}

func (r *run) opened(ctx context.Context, l *line) {
	l.open, l.since, l.successor = true, time.Now(), r.current != nil
	r.connected = true
	r.cfg.Logger.Debug("connected", "node", l.greeting.Node, "connection", l.greeting.Connection)
	r.cfg.Handler.Connected(l.greeting)
	r.syncLine(ctx, l)
	if r.current == nil || len(l.requests) == 0 {
		r.promote()
	}
}

// promote makes next the current line. It serves everything, so the old one can go.
func (r *run) promote() {
	old := r.current
	r.current, r.next = r.next, nil
	if old != nil {
		old.leave(&r.wg)
		r.backoff.reset()
	}
	if r.current.moving != nil {
		r.move(*r.current.moving)
	}
}

func (r *run) ended(l *line, err error) error {
	l.cancel()
	if l.open && time.Since(l.since) >= steady {
		r.backoff.reset()
	}
	if l == r.next {
		r.next = nil
	} else {
		r.current = nil
	}
	switch {
	case r.next != nil && r.next.open:
		r.promote() // what it does not serve yet it soon will
		return nil
	case r.current != nil && r.scheduled:
		return nil
	case r.current == nil && staysAway(err, r.connected):
		return err
	}
	wait := time.Duration(0)
	if r.next == nil {
		wait = r.backoff.next(later(err))
		r.schedule(wait)
	}
	r.cfg.Logger.Info("connection lost", "error", err, "retry", wait)
	if r.current == nil {
		r.cfg.Handler.Disconnected(err, wait)
	}
	return nil
}

// move dials anew within the window that a draining edge gave, while the current line goes on delivering. A line that
// is to take over already does so first.
func (r *run) move(p wire.GoingAwayPayload) {
	if r.next != nil || r.scheduled {
		return
	}
	least, most := max(p.ReconnectMS[0], 0), max(p.ReconnectMS[0], p.ReconnectMS[1], 0)
	ms := least + rand.Int64N(most-least+1)
	wait := time.Duration(min(ms, maxRetryAfter.Milliseconds())) * time.Millisecond
	r.cfg.Logger.Info("moving to another connection", "reason", p.Reason, "wait", wait)
	r.schedule(wait)
}

func (r *run) schedule(wait time.Duration) {
	r.due.Reset(wait)
	r.scheduled = true
}

// sync brings the lines up to what is wanted now.
func (r *run) sync(ctx context.Context) {
	subs := r.client.subscriptions()
	for name, t := range r.topics {
		if t.match(subs); len(t.subs) == 0 {
			delete(r.topics, name)
			if t.gone {
				r.gone--
			}
		}
	}
	for _, l := range []*line{r.current, r.next} {
		if l != nil && l.open {
			r.syncLine(ctx, l)
		}
	}
}

// maxBatch is how many patterns one subscribe names.
const maxBatch = 100

// wantBytes is the most that one of them takes.
const wantBytes = 480

func (r *run) syncLine(ctx context.Context, l *line) {
	subs := r.client.subscriptions()
	var unwanted []wire.Want
	for s := range l.asked {
		if !slices.Contains(subs, s) {
			if l.held[s] != nil {
				unwanted = append(unwanted, wire.Want{Topic: string(s.pattern)})
			}
			delete(l.asked, s)
			delete(l.held, s)
		}
	}
	// First, lest a pattern that was given up and taken again be taken for one that is held.
	for batch := range slices.Chunk(unwanted, l.batch()) {
		l.send(ctx, wire.Request{Type: wire.Unsubscribe, Topics: batch}, nil)
	}
	var fresh []*subscription
	for _, s := range subs {
		if !l.asked[s] {
			fresh = append(fresh, s)
		}
	}
	for batch := range slices.Chunk(fresh, l.batch()) {
		l.subscribe(ctx, batch)
	}
}

func (l *line) batch() int {
	if l.greeting.Limits.MessageBytes == 0 {
		return maxBatch
	}
	return min(max(l.greeting.Limits.MessageBytes/wantBytes, 1), maxBatch)
}

func (l *line) subscribe(ctx context.Context, subs []*subscription) {
	wants := make([]wire.Want, len(subs))
	for i, s := range subs {
		wants[i] = s.want()
		l.asked[s] = true
	}
	l.send(ctx, wire.Request{Type: wire.Subscribe, Topics: wants}, subs)
}
