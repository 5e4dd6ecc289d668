package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// maxServing bounds the actions that handlers have at once: what a flood of them may cost. How many run is the handler's to say.
const maxServing = 128

const (
	backWithin = 5 * time.Second // an asker that is not back by then after an outage has gone
	backPoll   = 100 * time.Millisecond
)

// ActionHandler does an action, or says in an *ActionError why not. It is called on a goroutine of its own. It must not begin what
// is Late, and should end soon once ctx has.
type ActionHandler func(ctx context.Context, a Action) (ActionResult, error)

// ServeOptions is what NATS' tools show of a service.
type ServeOptions struct {
	Version  string            // of the program; 0.0.0 if it is no semantic version
	Metadata map[string]string // besides host
}

// serving is one host's answering of actions.
type serving struct {
	conn    *Conn
	host    string
	handle  ActionHandler
	service micro.Service
	slots   chan struct{} // one for each handler

	ctx    context.Context // of the handlers
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	stopped bool
	running sync.WaitGroup // grows only under mu, while not stopped
}

// ServeActions answers the actions that Act asks for, for one host, as a service that NATS' own tools list (`nats micro ls`). It
// begins once the line is up, and goes on over outages; what was asked for during one is not known to it, nor will it be.
//
// stop takes no more, and waits for those that run and for their answers to be sent, until its ctx ends; then it ends the handlers'
// ctx, waits for them to return, and says that it did so. It may be called twice. Close does the same without waiting.
func (c *Conn) ServeActions(host string, handle ActionHandler, o ServeOptions) (stop func(context.Context) error, err error) {
	if !isToken(host) {
		return nil, fmt.Errorf("serve actions: %q is no host token", clip(host))
	}
	s := &serving{conn: c, host: host, handle: handle, slots: make(chan struct{}, maxServing)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	metadata := map[string]string{"host": host}
	for name, value := range o.Metadata {
		metadata[name] = value
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.servings[s] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		s.cancel()
		return nil, fmt.Errorf("serve actions: %w", ErrClosed)
	}
	s.service, err = micro.AddService(c.nc, micro.Config{
		Name:        strings.ReplaceAll(c.cfg.Prefix, ".", "-") + "-publisher",
		Version:     semanticVersion(o.Version),
		Description: "Answers actions on the containers of a host",
		Metadata:    metadata,
		Endpoint:    &micro.EndpointConfig{Subject: c.subjects.act + host, Handler: micro.HandlerFunc(s.take)},
	})
	if err != nil {
		s.forget()
		return nil, fmt.Errorf("serve actions: %w", lineError(err))
	}
	return s.stop, nil
}

// take is called for one request after the other, and waits for nothing.
func (s *serving) take(r micro.Request) {
	now := time.Now()
	m := s.conn.metrics
	a, refusal := s.read(r, now)
	if refusal != nil {
		m.unserved[unservedMalformed].Inc()
		s.refuse(r, refusal)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		m.unserved[unservedStopping].Inc()
		s.refuse(r, actionRefusal(CodeUnavailable, "the host's publisher is stopping, and has not begun the action; ask again later"))
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		m.unserved[unservedTooMany].Inc()
		s.refuse(r, actionRefusal(CodeTooManyRequests, "the host has too many actions to see to; ask again later"))
		return
	}
	reply := r.Reply()
	s.running.Go(func() {
		defer func() { <-s.slots }()
		s.serve(a, reply, now)
	})
}

func (s *serving) read(r micro.Request, now time.Time) (Action, *ActionError) {
	a, err := decodeAction(r.Data(), now)
	switch {
	case err != nil:
		return a, actionRefusal(CodeBadRequest, "the action cannot be read")
	case a.Host != s.host:
		return a, actionRefusal(CodeBadRequest, "the action is for another host than it was sent to")
	case r.Reply() == "":
		return a, actionRefusal(CodeBadRequest, "nobody waits for an answer")
	}
	return a, a.check()
}

// serve has the handler do one action, and answers.
func (s *serving) serve(a Action, reply string, received time.Time) {
	limit := a.Deadline // after which nobody waits for an answer
	if a.Timeout > 0 {
		limit = received.Add(a.Timeout)
	}
	a.takesUpTo = func(d time.Duration) {
		limit = time.Now().Add(d)
		payload, _ := json.Marshal(progress{WithinMS: d.Milliseconds()}) // of a number
		// Without it the asker gives up early, and says that the outcome is unknown.
		_ = s.conn.nc.PublishMsg(&nats.Msg{Subject: reply, Data: payload, Header: nats.Header{headerProgress: {progressBegun}}})
	}
	result, err := s.handle(s.ctx, a)
	answer := s.conn.answer(result, err)
	answer.Subject = reply
	ctx, cancel := context.WithDeadline(s.ctx, limit.Add(answerSlack))
	defer cancel()
	if err := s.conn.deliver(ctx, answer, received); err != nil {
		s.conn.metrics.answersLost.Inc()
		s.conn.log.Warn("could not say how an action ended; its asker takes the outcome for unknown", "action", a.Verb, "host", a.Host, "error", err)
	}
}

// refuse answers without asking the handler.
func (s *serving) refuse(r micro.Request, refusal *ActionError) {
	if r.Reply() == "" {
		return
	}
	answer := s.conn.answer(ActionResult{}, refusal)
	answer.Subject = r.Reply()
	if err := s.conn.nc.PublishMsg(answer); err != nil {
		s.conn.metrics.answersLost.Inc()
	}
}

// answer is what is sent back, with errors as NATS' services send them.
func (c *Conn) answer(result ActionResult, err error) *nats.Msg {
	if err == nil {
		payload, _ := json.Marshal(result) // of strings and a bool
		return &nats.Msg{Data: payload}
	}
	refusal, ok := errors.AsType[*ActionError](err)
	if !ok {
		c.log.Error("action failed", "error", err)
		refusal = actionRefusal(CodeInternal, "the action failed by a fault of the publisher, whose log says why; the container's events tell what came of it")
	}
	return &nats.Msg{Header: nats.Header{micro.ErrorCodeHeader: {refusal.Code}, micro.ErrorHeader: {refusal.Message}}}
}

// deliver sends the answer to what was received then until it reaches its asker, over outages: after one, the asker's line may be
// up again later than ours.
func (c *Conn) deliver(ctx context.Context, m *nats.Msg, received time.Time) error {
	echoes, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return fmt.Errorf("listen whether the answer arrives: %w", lineError(err))
	}
	defer func() { _ = echoes.Unsubscribe() }() // fails only when the line is closed, and the subscription with it
	m.Reply = echoes.Subject
	var since time.Time // when nobody was first found waiting
	for {
		changed := c.Changed()
		err := lineError(c.nc.PublishMsg(m))
		if err == nil {
			err = c.Flush(ctx)
		}
		pause := (<-chan time.Time)(nil)
		switch {
		case err == nil:
			// That nobody waits is said before the server's answer to Flush.
			if _, err = echoes.NextMsg(0); !errors.Is(err, nats.ErrNoResponders) {
				return nil
			}
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) > backWithin || c.State().Since.Before(received) {
				return errors.New("nobody waits for it any more")
			}
			pause = time.After(backPoll)
		case !errors.Is(err, ErrUnavailable):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-changed:
		case <-pause:
		}
	}
}

// stop is what ServeActions returns.
func (s *serving) stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	err := s.service.Stop()
	_ = s.conn.Flush(ctx) // from here on askers are told that the host is offline; without NATS there are none
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.Join(err, errors.New("actions were still running"))
		s.cancel()
		<-ended
	}
	s.forget()
	if err != nil {
		return fmt.Errorf("stop answering actions: %w", err)
	}
	return nil
}

// forget ends what holds a serving in memory.
func (s *serving) forget() {
	s.cancel()
	s.conn.mu.Lock()
	delete(s.conn.servings, s)
	s.conn.mu.Unlock()
}

// semver is what NATS' services take for a version, but for the rules on leading zeros, which no build of ours offends.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func semanticVersion(version string) string {
	version = strings.TrimPrefix(version, "v")
	if !semver.MatchString(version) {
		return "0.0.0"
	}
	return version
}
