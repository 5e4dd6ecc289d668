package edge

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"tidings/bus"
	"tidings/edge/auth"
	"tidings/edge/poll"
	"tidings/edge/wire"
)

// loop serves a share of the node's connections on one goroutine. All of their state is the loop's own, so that
// a delivery takes no lock; what others want of it comes through its inbox.
type loop struct {
	node  *Edge
	log   *slog.Logger
	index int

	// Any goroutine.
	inbox  inbox
	poller *poll.Poller // only to wake it

	// The loop's own.
	now         time.Time
	epoch       string
	doubt       doubt
	degraded    bool
	since       time.Time // when degraded last changed
	conns       slab
	feeds       map[bus.Pattern]*feed
	wild        []*feed // those with a wildcard
	views       map[*topic]*view
	idle        []*feed // without subscribers, to be swept
	waiting     []ref   // connections that said more than a turn looks at
	spenders    []ref   // connections with rates that they have used of late
	share       int     // what is left of a turn's share of the connection at hand
	recentBytes int
	at          uint64 // the highest place that was passed on
	timers      wheel
	swept       time.Time
	gather      gather
	draining    bool
	graceEnds   time.Time // of the drain
	stopping    bool

	// Of one turn, kept for the next to use again.
	turn    turn
	stamp   uint64
	events  []poll.Event
	items   []item
	read    []byte // what one read brings
	text    []byte // a message being written
	upgrade *upgrader
	pongs   int // that were heard
	header  headerReader
	inflate inflater
}

// readSize is what one read takes at most.
const readSize = 64 << 10

// eventsMax is how many sockets one turn looks after at most.
const eventsMax = 512

func newLoop(node *Edge, index int, now time.Time) (*loop, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	l := &loop{
		node: node, log: node.log, index: index, poller: p,
		feeds: map[bus.Pattern]*feed{}, views: map[*topic]*view{},
		events: make([]poll.Event, eventsMax), read: make([]byte, readSize),
		now: now,
	}
	l.timers.start = l.now
	l.gather.most = node.cfg.Gather
	l.inbox.wake = p.Wake
	l.upgrade = newUpgrader(l)
	l.turn.init()
	return l, nil
}

func (l *loop) bit() uint64 { return 1 << l.index }

// post leaves something to do on the loop.
func (l *loop) post(do func(*loop)) { l.inbox.put(item{do: do}) }

// run serves until it is told to stop.
func (l *loop) run() error {
	defer l.poller.Close()
	defer l.conns.each(func(slot uint32, c *conn) { l.drop(slot, c, closedByStop) })
	for !l.stopping {
		l.inbox.hush(l.gather.on(l.now))
		n, err := l.poller.Wait(l.events, l.wakeAt(), l.idleNow)
		if err != nil {
			return fmt.Errorf("loop %d: %w", l.index, err)
		}
		start := time.Now()
		l.now = start
		delivered := l.stamp
		l.goOn()
		for _, e := range l.events[:n] {
			l.ready(e)
		}
		if !l.inbox.empty() && l.gather.opens(start) {
			l.items = l.inbox.take(l.items)
			for _, it := range l.items {
				if it.frame != nil {
					l.spread(it.frame)
					if len(l.turn.dues) >= duesMax {
						l.flush()
					}
				} else {
					it.do(l)
				}
			}
			clear(l.items) // frames are not to outlive their turn here
		}
		l.timers.advance(l.now, l.fire)
		if l.now.Sub(l.swept) >= time.Second || len(l.idle) > idleMax {
			l.swept = l.now
			l.sweep()
			l.forgive()
		}
		if err := l.rest(n); err != nil {
			return fmt.Errorf("loop %d: %w", l.index, err)
		}
		l.flush()
		took := time.Since(start)
		l.gather.done(start, took, int(l.stamp-delivered))
		l.node.metrics.turns.Observe(took.Seconds())
	}
	return nil
}

// idleNow reports whether the loop may sleep. While messages gather it may, until their time.
func (l *loop) idleNow() bool { return l.inbox.empty() || l.gather.on(time.Now()) }

// wakeAt is when the loop has to look even if nothing happens.
func (l *loop) wakeAt() time.Time {
	at := l.timers.next()
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if l.gather.on(l.now) {
		earlier(l.gather.until)
	}
	if len(l.idle) > 0 || len(l.spenders) > 0 {
		earlier(l.swept.Add(time.Second))
	}
	if len(l.waiting) > 0 {
		earlier(l.now)
	}
	return at
}

// ready looks after a socket that can be read or written.
func (l *loop) ready(e poll.Event) {
	r := refOf(e.Token)
	c := l.conns.find(r)
	if c == nil {
		return
	}
	if e.Writable && c.lag != nil {
		l.unblock(r.slot, c)
	}
	switch {
	case e.Broken && c.armed&poll.Readable == 0: // it is not being heard, and this would be told again and again
		l.hungUp(r.slot, c)
	case e.Readable:
		l.readable(r.slot, c)
	}
}

// accept takes connections in.
func (l *loop) accept(batch []poll.Accepted) {
	for _, a := range batch {
		l.take(a, nil, false)
	}
}

// take takes one connection in. Who its client is may be known already; nil: it has to say so.
func (l *loop) take(a poll.Accepted, who *auth.Session, onePosition bool) {
	slot, c := l.conns.take()
	sock, err := l.poller.Add(a, ref{slot, c.gen}.token())
	if err != nil {
		l.log.Error("take a connection", "error", err)
		a.Close()
		l.conns.put(slot)
		l.node.left(a.Peer())
		return
	}
	c.sock, c.client, c.state, c.armed, c.onePosition = sock, a.Peer(), greeting, poll.Readable, onePosition
	if who != nil {
		c.session = &session{Session: who}
	}
	l.timers.add(l.now.Add(l.node.cfg.HandshakeTimeout), timer{slot: slot, gen: c.gen, kind: handshakeTimer})
	// The request is seldom later than the connection: one look saves an event.
	l.readable(slot, c)
}

// turnAway takes a connection for which there is no place, to refuse what it is about to ask.
func (l *loop) turnAway(a poll.Accepted, r *refusal) {
	slot, c := l.conns.take()
	sock, err := l.poller.Add(a, ref{slot, c.gen}.token())
	if err != nil {
		a.Close()
		l.conns.put(slot)
		l.node.turning.Add(-1)
		return
	}
	c.sock, c.state, c.armed, c.turned = sock, greeting, poll.Readable, true
	c.input = &input{refusal: r}
	l.timers.add(l.now.Add(turnAwayTime), timer{slot: slot, gen: c.gen, kind: handshakeTimer})
	l.readable(slot, c)
}

// turnAwayTime is how long a client that is to be refused may take to ask.
const turnAwayTime = time.Second

// arm sets what the loop is told of a socket.
func (l *loop) arm(slot uint32, c *conn, i poll.Interest) {
	if c.armed == i {
		return
	}
	c.armed = i
	if err := l.poller.Arm(c.sock, ref{slot, c.gen}.token(), i); err != nil {
		l.log.Error("watch a connection", "error", err)
	}
}

// fire looks after a timer that has come due.
func (l *loop) fire(t timer) {
	c := l.conns.find(ref{t.slot, t.gen})
	if c == nil {
		return
	}
	switch t.kind {
	case handshakeTimer:
		switch {
		case c.state != greeting:
		case c.turned:
			l.refuse(t.slot, c, *c.input.refusal)
		case c.pending != nil:
			l.refuse(t.slot, c, l.node.cfg.tokenRefusal(auth.ErrUnavailable))
		default:
			l.node.metrics.limited[limitHandshakeTimeout].Inc()
			l.refuse(t.slot, c, refusal{status: http.StatusRequestTimeout, code: wire.BadRequest, result: handshakeTimeout,
				message: "the request took too long; send it at once"})
		}
	case heartbeatTimer:
		l.heartbeat(t.slot, c)
	case slowTimer:
		l.checkSlow(t.slot, c)
	case askTimer:
		if c.lag != nil {
			l.mark(t.slot, c)
		}
	case paceTimer:
		l.paced(t.slot, c)
	case pendingTimer:
		l.checkPending(t.slot, c)
	case closeTimer:
		if c.state >= closing {
			l.drop(t.slot, c, 0)
		}
	case sessionTimer:
		l.checkSession(t.slot, c)
	case leaveTimer:
		l.askToLeave(t.slot, c)
	case deadlineTimer:
		l.checkLeft(t.slot, c)
	}
}

// tell sends one connection a message of its own.
func (l *loop) tell(slot uint32, c *conn, text []byte) {
	l.text = text[:0]
	l.owe(slot, c, newFrame(text))
}

// fail answers a request with an error.
func (l *loop) fail(slot uint32, c *conn, id uint64, e *wire.Error) {
	l.node.metrics.errors[e.Code].Inc()
	l.tell(slot, c, wire.AppendError(l.text[:0], id, l.now.UnixMilli(), e))
}

// status tells all clients how the edge stands with NATS.
func (l *loop) status(degraded bool, since time.Time) {
	l.degraded, l.since = degraded, since
	f := newFrame(wire.AppendStatus(nil, l.now.UnixMilli(), degraded, since.UnixMilli()))
	f.stale, f.fresh = degraded, !degraded
	l.conns.each(func(slot uint32, c *conn) {
		if c.state == serving {
			l.owe(slot, c, f)
		}
	})
}

// rewind forgets what came from behind a place of the stream: it is not there any more.
func (l *loop) rewind(to uint64) {
	for _, f := range l.feeds {
		for f.recent.n > 0 && f.recent.at(f.recent.n-1).seq > to {
			l.forgetNewest(f)
		}
		f.seq, f.recent.floor = min(f.seq, to), min(f.recent.floor, to)
	}
	for _, v := range l.views {
		v.seq = min(v.seq, to)
		if v.retained != nil && v.retained.seq > to {
			v.last, v.retained = nil, nil
		}
	}
	l.at = min(l.at, to)
	l.conns.each(func(_ uint32, c *conn) {
		c.ahead = min(c.ahead, to)
		c.aside()
		for i := range c.subs {
			s := &c.subs[i]
			s.from, s.live = min(s.from, to), min(s.live, to)
		}
		if c.lag != nil {
			for i := range c.lag.cursors {
				c.lag.cursors[i] = min(c.lag.cursors[i], to)
			}
			c.disown()
			maps.DeleteFunc(c.lag.stale, func(v *view, _ uint64) bool { return v.last == nil })
		}
	})
}

// shut closes a connection with a close frame: what is due to it goes out first.
func (l *loop) shut(slot uint32, c *conn, code wire.CloseCode, reason string) {
	if c.state != serving {
		l.drop(slot, c, 0)
		return
	}
	l.node.metrics.closed(code)
	l.detach(c)
	if c.lag != nil {
		// Its socket is full. A close frame fits only where no frame was cut in two.
		if c.lag.cut == nil {
			_, _ = c.sock.Write(closeFrame(code, reason).wire)
		}
		c.state = closing
		l.drop(slot, c, 0)
		return
	}
	l.owe(slot, c, closeFrame(code, reason))
	c.state = closing
	l.timers.add(l.now.Add(closeWait), timer{slot: slot, gen: c.gen, kind: closeTimer})
}

// shutBy answers a close frame. The answer is the last that the other side hears, so the socket is closed
// right after it (RFC 6455 §7.1.1).
func (l *loop) shutBy(slot uint32, c *conn, code wire.CloseCode) {
	if c.state == closing {
		l.drop(slot, c, 0)
		return
	}
	l.shut(slot, c, code, "")
	if c.state == closing {
		c.state = ending
	}
}

// giveUpOn closes a connection that can't be understood any more.
func (l *loop) giveUpOn(slot uint32, c *conn, code wire.CloseCode, reason string) {
	l.shut(slot, c, code, reason)
	if c.state == closing {
		c.state = failed
	}
}

// closeWait is how long the other side may take to answer a close (RFC 6455 §7.1.1: the server closes first).
const closeWait = time.Second

// closeFor maps a violation of RFC 6455 to its close code.
func closeFor(err error) (wire.CloseCode, string) {
	if p, ok := err.(ws.ProtocolError); ok {
		return wire.CloseProtocolError, string(p)
	}
	return wire.CloseProtocolError, "malformed frame"
}

// detach ends all subscriptions of a connection.
func (l *loop) detach(c *conn) {
	if c.lag != nil {
		c.lag.late = nil // which nobody inherits
	}
	for i := len(c.subs) - 1; i >= 0; i-- {
		l.leave(c, i)
	}
	l.finish(c)
}

// drop ends a connection at once. The code is for the metric; 0: it has been counted.
func (l *loop) drop(slot uint32, c *conn, code wire.CloseCode) {
	if code != 0 {
		l.node.metrics.closed(code)
	}
	l.detach(c)
	if c.lag != nil {
		l.node.metrics.lagging.Dec()
	}
	if c.deflate {
		l.node.hub.deflating.Add(-1)
	}
	c.sock.Close()
	if c.session != nil && c.session.counted {
		l.node.door.leaveUser(c.session.Subject)
	}
	if c.turned {
		l.node.turning.Add(-1)
	} else {
		l.node.left(c.client)
	}
	if c.upgraded { // told only now that its place is free
		l.node.metrics.open.Dec()
	}
	l.conns.put(slot)
}
