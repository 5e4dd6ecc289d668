package edge

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
	"tidings/edge/wire"
)

// Actor has the publisher of a host do something to a container, and waits for how that ended; a *bus.Conn is one. Its errors
// are *bus.ActionError. It is called by several goroutines at once.
type Actor interface {
	Act(ctx context.Context, a bus.Action) (bus.ActionResult, error)
}

const (
	actingMost = 1024 // actions of all clients that may run at once: each has a goroutine that waits
	actsMost   = 16   // and of one connection, and answers that are due to one that was asked for again
	actsKept   = 64   // of a connection that have ended and are remembered, so that a request sent twice runs once
)

// acting is what an edge's clients have asked for and that has not ended.
type acting struct {
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	n      atomic.Int64
}

func newActing() *acting {
	a := &acting{}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// close gives up waiting for what runs still: its publisher goes on, and the container's events tell.
func (a *acting) close() {
	a.cancel()
	a.wait.Wait()
}

// acts are the actions of one connection: those that run, and the last ones that have ended.
type acts struct {
	byID    map[uint64]*act
	running int
	ended   []uint64 // ids, oldest first
}

// act is one action, and once it is over how it ended.
type act struct {
	asked  wire.Action
	due    int // answers: one, and one more for each time it was asked for again while it ran
	over   bool
	result wire.ActionPayload
	err    *wire.Error // nil: it ended well
}

// act asks a host's publisher for an action, unless this connection has asked for it before. What it may do is looked at here, and
// again by the publisher, which verifies the token itself.
func (l *loop) act(slot uint32, c *conn, r wire.Request) {
	s, asked := c.session, *r.Action
	if l.node.cfg.Actor == nil {
		l.node.metrics.actions[string(wire.Disabled)].Inc()
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.Disabled, Message: "actions are not switched on at this edge; its operator can"})
		return
	}
	if field, wrong := faultOf(asked); field != "" {
		l.node.metrics.actions[string(wire.BadRequest)].Inc()
		l.bad(slot, c, r.ID, &wire.Error{Code: wire.BadRequest, Message: field + ": " + wrong})
		return
	}
	if before := s.acts.byID[r.ID]; before != nil {
		switch {
		case before.asked != asked:
			l.bad(slot, c, r.ID, &wire.Error{Code: wire.BadRequest, Message: "id: it was another action's on this connection; use a new one"})
		case before.over:
			l.answer(slot, c, r.ID, before)
		case before.due >= actsMost: // all of the answers come at once, however long it runs
			l.fail(slot, c, r.ID, &wire.Error{Code: wire.TooManyRequests, RetryAfter: time.Second,
				Message: "this action was asked for again and again, and runs still; wait until it has ended"})
		default:
			before.due++
		}
		return
	}
	refuse := func(code wire.Code, message string) {
		l.node.metrics.actions[string(code)].Inc()
		l.fail(slot, c, r.ID, &wire.Error{Code: code, Message: message})
		l.record(c, r.ID, asked, code)
	}
	switch {
	case !mayAct(s.Session, asked):
		refuse(wire.Forbidden, "the token does not grant "+asked.Host+"."+strings.ReplaceAll(asked.Container, ".", "-")+"."+string(asked.Verb)+
			"; get one that does")
	case l.draining:
		refuse(wire.Unavailable, "this node is being stopped and begins no action any more; ask again over another connection")
	case s.acts.running >= actsMost:
		refuse(wire.TooManyRequests, "a connection may have "+strconv.Itoa(actsMost)+" actions under way; wait until one has ended")
	case l.node.acting.n.Load() >= actingMost:
		refuse(wire.Unavailable, "this node has as many actions under way as it may; ask again in a moment or elsewhere")
	default:
		if e := l.node.door.beginAction(s.Subject, l.now); e != nil {
			l.node.metrics.actions[string(e.Code)].Inc()
			l.fail(slot, c, r.ID, e)
			l.record(c, r.ID, asked, e.Code)
			return
		}
		l.pass(slot, c, r.ID, asked)
	}
}

// pass passes an action on to its publisher, once.
func (l *loop) pass(slot uint32, c *conn, id uint64, asked wire.Action) {
	s := c.session
	if s.acts.byID == nil {
		s.acts.byID = map[uint64]*act{}
	}
	a := &act{asked: asked, due: 1}
	s.acts.byID[id] = a
	s.acts.running++
	r, sub := ref{slot, c.gen}, s.Subject
	l.send(l.action(c, id, asked), func(result bus.ActionResult, err error) {
		l.node.door.endAction(sub)
		l.node.metrics.actions[outcome(result, err)].Inc()
		l.post(func(l *loop) {
			if c := l.conns.find(r); c != nil && c.state == serving {
				l.acted(slot, c, id, a, result, err)
			}
		})
	})
}

// record has the host's publisher record an action that was refused here. Nobody waits for that. What is too much of one user's, or
// would take more than half of the room that there is for actions, is counted alone.
func (l *loop) record(c *conn, id uint64, asked wire.Action, code wire.Code) {
	if l.node.acting.n.Load() >= actingMost/2 || !l.node.door.mayRecord(c.session.Subject, l.now) {
		l.node.metrics.unrecorded.Inc()
		return
	}
	action := l.action(c, id, asked)
	action.Refused, action.Timeout = string(code), time.Second
	l.send(action, func(bus.ActionResult, error) {})
}

// action is what a publisher is told of an action.
func (l *loop) action(c *conn, id uint64, asked wire.Action) bus.Action {
	a := bus.Action{
		Key: c.session.name + "-" + strconv.FormatUint(id, 10), Host: asked.Host, Container: asked.Container, Verb: bus.Verb(asked.Verb),
		Timeout: asked.Timeout, Token: c.session.token, Edge: l.node.cfg.Node,
	}
	if c.client.IsValid() {
		a.RemoteAddress = c.client.String()
	}
	return a
}

// send sends an action to its publisher, and calls ended, on a goroutine of its own, with what came of it.
func (l *loop) send(a bus.Action, ended func(bus.ActionResult, error)) {
	all := l.node.acting
	all.n.Add(1)
	l.node.metrics.acting.Inc()
	all.wait.Go(func() {
		result, err := l.node.cfg.Actor.Act(all.ctx, a)
		all.n.Add(-1)
		l.node.metrics.acting.Dec()
		ended(result, err)
	})
}

// acted answers an action that has ended, and remembers how.
func (l *loop) acted(slot uint32, c *conn, id uint64, a *act, result bus.ActionResult, err error) {
	a.over = true
	if err != nil {
		a.err = actError(err)
	} else {
		a.result = wire.ActionPayload{Host: result.Host, Container: result.Container, ID: result.ID, Action: wire.Verb(result.Action),
			Changed: result.Changed, State: result.State}
	}
	for range a.due {
		l.answer(slot, c, id, a)
	}
	acts := &c.session.acts
	acts.running--
	if acts.ended = append(acts.ended, id); len(acts.ended) > actsKept {
		delete(acts.byID, acts.ended[0])
		acts.ended = acts.ended[1:]
	}
}

func (l *loop) answer(slot uint32, c *conn, id uint64, a *act) {
	if a.err != nil {
		l.fail(slot, c, id, a.err)
		return
	}
	l.tell(slot, c, wire.AppendActionAck(l.text[:0], id, l.now.UnixMilli(), a.result))
}

// actError is what a client is told about an action that did not end well.
func actError(err error) *wire.Error {
	refusal, ok := errors.AsType[*bus.ActionError](err)
	if !ok {
		return &wire.Error{Code: wire.Internal, Message: "the action failed by a fault of this node, whose log says why; the container's events tell what came of it"}
	}
	e := &wire.Error{Code: wire.Code(refusal.Code), Message: refusal.Message}
	switch e.Code {
	case wire.Unavailable, wire.TooManyRequests:
		e.RetryAfter = 5 * time.Second
	case wire.Conflict:
		e.RetryAfter = time.Second
	}
	return e
}

// Outcomes of actions that end well; the others are codes.
const (
	outcomeOK        = "ok"        // it was done
	outcomeUnchanged = "unchanged" // there was nothing to do
)

// actOutcomes lists how an action can end, by the label of a metric.
var actOutcomes = func() []string {
	list := []string{outcomeOK, outcomeUnchanged}
	for _, code := range wire.Codes {
		list = append(list, string(code))
	}
	return list
}()

func outcome(result bus.ActionResult, err error) string {
	switch {
	case err != nil:
		return string(actError(err).Code)
	case result.Changed:
		return outcomeOK
	}
	return outcomeUnchanged
}

// mayAct reports whether a token may grant an action. A container that is named by the start of its id is known by its name to
// the publisher alone; then it is enough here that some container of the host is granted, and the publisher looks which.
func mayAct(s *auth.Session, a wire.Action) bool {
	if s.MayAct(a.Host, a.Container, bus.Verb(a.Verb)) {
		return true
	}
	return isID(a.Container) && s.MayActOnSome(a.Host, bus.Verb(a.Verb))
}

// isID reports whether a container is named by its id, or the start of it (PROTOCOL §6). A name may look like that too.
func isID(container string) bool {
	return len(container) >= 12 && len(container) <= 64 && strings.Trim(container, "0123456789abcdef") == ""
}

// faultOf is the field of an action that is not what it has to be, and what is wrong with it. Whatever gets past here is harmless
// in a subject, a pattern and a log.
func faultOf(a wire.Action) (field, wrong string) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789_-"
	switch {
	case len(a.Host) > bus.MaxTopicBytes || strings.Trim(a.Host, letters) != "":
		return "host", "it is no host token: the second part of its topics, such as web-1"
	case !bus.IsContainer(a.Container):
		return "container", "it is neither a name nor 12 or more digits of an id"
	}
	return "", ""
}
