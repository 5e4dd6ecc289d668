package edge

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// hub stands between NATS and the loops: it knows which patterns are wanted, takes each message once, sees to it that
// none is missing, and leaves it with the loops that want it. One goroutine runs it; what takes time is done by
// workers, whose results come back through the mail.
type hub struct {
	// Set before it runs.
	bus     *bus.Conn
	log     *slog.Logger
	metrics *metrics
	loops   []*loop

	// Any goroutine.
	mail      mail
	deflating atomic.Int32 // connections that take compressed messages

	// The hub's own.
	ctx         context.Context
	workers     sync.WaitGroup
	listener    *bus.Listener
	epoch       string // of the stream; "" until it has been read
	at          uint64 // highest place of the stream that was passed on
	granted     uint64 // and from which on somebody was granted a pattern
	trail       trail
	topics      map[bus.Topic]*topic
	interests   map[bus.Pattern]*interest
	wild        []*interest               // those of interests with a wildcard
	leaving     map[bus.Pattern]*interest // closed ones whose subscription at NATS is about to end
	loading     []*interest               // those to be loaded next
	reading     bool                      // a load is under way
	replays     []*replay                 // reads of the stream under way
	reread      reread                    // and those that ended a moment ago
	reach       reach
	abreast     abreast
	up          time.Time // since when the line to NATS has been up, as last seen
	proven      time.Time // up of the line over which the stream was last found not to have lost what was passed on
	degraded    bool
	since       time.Time // when degraded last changed
	repairing   bool      // live messages are held back until what is missing before them is there
	held        []bus.Message
	heldBytes   int // of their payloads
	nextSuspect time.Time
	auditing    bool
	holes       bool                 // a message came whose predecessor had not, since the last audit
	suspected   map[bus.Topic]uint64 // last messages that had not come at the last audit, by the place that told it
	again       bool                 // what is being repaired has broken again
	againAfter  uint64               // behind this place
}

// listenCapacity is how many live messages may wait for the hub before NATS' client drops some; they
// would be read from the stream afterwards.
const listenCapacity = 64 << 10

func newHub(b *bus.Conn, log *slog.Logger, m *metrics) *hub {
	h := &hub{bus: b, log: log, metrics: m, topics: map[bus.Topic]*topic{}, interests: map[bus.Pattern]*interest{}, leaving: map[bus.Pattern]*interest{}}
	h.mail.ready = make(chan struct{}, 1)
	return h
}

// begin tells the loops how things stand, before they hear of any connection.
func (h *hub) begin(ctx context.Context) {
	h.ctx = ctx
	h.listener = h.bus.Listen(listenCapacity)
	h.stateChanged(h.bus.State())
}

// run serves until the ctx of begin ends.
func (h *hub) run() {
	ctx := h.ctx
	defer h.workers.Wait()
	defer h.listener.Close()
	changed := h.bus.Changed()
	h.stateChanged(h.bus.State())
	audits := time.NewTicker(auditEvery)
	defer audits.Stop()
	tidy := time.NewTicker(rereadFor)
	defer tidy.Stop()
	for {
		// A line that broke comes first, for what comes over the next one has to wait.
		select {
		case <-changed:
			changed = h.bus.Changed()
			h.stateChanged(h.bus.State())
		default:
		}
		live := h.listener.C()
		var look <-chan time.Time
		if h.ahead() && !h.holds() { // what is held back is with no loop
			live, look = nil, time.After(listenEvery)
		}
		select {
		case <-ctx.Done():
			return
		case m := <-live:
			h.receive(m)
		case <-h.mail.ready:
			for _, do := range h.mail.take() {
				do()
			}
			h.load()
		case <-changed:
			changed = h.bus.Changed()
			h.stateChanged(h.bus.State())
		case <-look:
			h.lookAtListener()
		case <-audits.C:
			h.audit()
		case <-tidy.C:
			h.reread.forget()
		case p := <-h.listener.Dropped():
			h.repair("messages dropped for want of room", []bus.Pattern{p}, h.at)
		}
	}
}

// work runs do beside the hub, and what do returns on the hub.
func (h *hub) work(do func(context.Context) func()) {
	h.workers.Go(func() { h.mail.put(do(h.ctx)) })
}

// patiently tries until it succeeds or ctx ends, with pauses that grow to a second. Its error is that of
// ctx: NATS may be away for as long as it likes.
func (h *hub) patiently(ctx context.Context, what string, try func(context.Context) error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		attempt, cancel := context.WithTimeout(ctx, loadTimeout)
		err := try(attempt)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		h.log.Warn(what, "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// stateChanged tells clients that values are getting old, or brings everything up to date again and then tells them.
func (h *hub) stateChanged(s bus.State) {
	if h.epoch == "" && s.Epoch != "" {
		h.setEpoch(s.Epoch)
	}
	broke := s.Connected && !s.Since.Equal(h.up) // be it for so short a time that only this tells
	if s.Connected {
		h.up = s.Since
	}
	if broke {
		h.reach.said = time.Time{} // NATS may come back with less than it had
	}
	switch {
	case !s.Connected && !h.degraded:
		h.takeIn()
		h.trail.mark()
		h.tellStatus(true, s.Since)
	case broke && !h.repairing && !h.anyReady(): // nothing was passed on that could have been missed
		h.at, h.trail = 0, trail{}
		if h.degraded {
			h.tellStatus(false, time.Now())
		}
		h.letGo()
	case broke:
		h.repair("NATS was away", h.roots(), h.at)
	case s.Epoch != "" && h.epoch != "" && s.Epoch != h.epoch && h.setEpoch(s.Epoch):
		h.repair("the stream was made anew", h.roots(), 0)
	}
}

func (h *hub) tellStatus(degraded bool, since time.Time) {
	h.degraded, h.since = degraded, since
	for _, l := range h.loops {
		l.post(func(l *loop) { l.status(degraded, since) })
	}
}

// setEpoch notices that the stream was made anew: positions are void, and what was known of topics with them.
func (h *hub) setEpoch(epoch string) (anew bool) {
	if epoch == h.epoch {
		return false
	}
	was := h.epoch
	h.epoch = epoch
	for _, l := range h.loops {
		l.post(func(l *loop) { l.epoch = epoch })
	}
	if was == "" {
		return false
	}
	h.log.Warn("the stream was made anew", "epoch", epoch, "was", was)
	now := time.Now()
	for _, t := range h.topics {
		if t.every {
			h.lost(t, bus.Loss{Topic: t.name, Before: 1}, wire.GapEpoch, now)
		}
		t.seq, t.last, t.left = 0, nil, leftOut{}
	}
	h.reread = reread{}
	h.reach.said = time.Time{}
	// A repair of all that the new stream has follows wherever this was noticed. What was held back may be of the old one.
	h.at, h.granted, h.again, h.trail = 0, 0, false, trail{}
	h.holdBack(nil)
	for _, in := range h.interests {
		in.loaded, in.early = 0, nil
	}
	for _, l := range h.loops {
		l.post(func(l *loop) {
			l.rewind(0)
			l.doubt = doubt{}
		})
	}
	return true
}

// lost tells the subscribers of a topic that messages are gone for good.
func (h *hub) lost(t *topic, loss bus.Loss, reason wire.GapReason, now time.Time) {
	h.metrics.gaps[reason].Inc()
	f := gapFrame(t, loss, reason, now)
	f.late = h.isLate(f)
	h.dispatch(t, f)
}

// roots lists the patterns that are subscribed at NATS.
func (h *hub) roots() []bus.Pattern {
	var list []bus.Pattern
	for _, in := range h.interests {
		if in.via == nil {
			list = append(list, in.pattern)
		}
	}
	return list
}

// anyReady reports whether messages are passed on for anybody.
func (h *hub) anyReady() bool {
	for _, in := range h.interests {
		if in.ready {
			return true
		}
	}
	return false
}

// mail takes what is to be done on the hub, from any goroutine, in order.
type mail struct {
	ready chan struct{}

	mu   sync.Mutex
	todo []func()
}

func (m *mail) put(do func()) {
	m.mu.Lock()
	m.todo = append(m.todo, do)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mail) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	todo := m.todo
	m.todo = nil
	return todo
}
