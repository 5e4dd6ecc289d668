package bus

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// parcel is one message in the outbox.
type parcel struct {
	id    uint64 // counts Put; the last token of the reply subject
	topic Topic
	msg   *nats.Msg

	tries  int
	sentAt time.Time
}

func (p *parcel) bytes() int { return len(p.msg.Data) }

// lane is one topic's part of the outbox.
type lane struct {
	waiting []*parcel // in the order of Put
	flying  *parcel   // sent and not yet acknowledged; the next waits for it
}

// maxWaitingLatest is how many messages of a Latest topic wait while NATS takes messages, but more slowly than they come.
const maxWaitingLatest = 16

// lanes hold what is in the outbox. Its methods may be called by many goroutines at once.
type lanes struct {
	cfg     OutboxConfig
	metrics *metrics

	mu      sync.Mutex
	ids     uint64
	byTopic map[Topic]*lane
	ready   []Topic            // lanes with something waiting and nothing flying
	air     map[uint64]*parcel // what is flying
	every   int                // waiting messages with delivery Every
	bytes   int                // of all that is here
	count   int
	stalled bool // NATS takes nothing at the moment
	closed  bool
}

func newLanes(cfg OutboxConfig, m *metrics) *lanes {
	return &lanes{cfg: cfg, metrics: m, byTopic: map[Topic]*lane{}, air: map[uint64]*parcel{}, stalled: true}
}

func (l *lanes) nextID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids++
	return l.ids
}

func (l *lanes) put(p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.metrics.outboxDrops[dropShutdown].Inc()
		return
	}
	in := l.byTopic[p.topic]
	if in == nil {
		in = &lane{}
		l.byTopic[p.topic] = in
	}
	if len(in.waiting) == 0 && in.flying == nil {
		l.ready = append(l.ready, p.topic)
	}
	in.waiting = append(in.waiting, p)
	l.hold(p, +1)
	l.wait(p, +1)
	if p.topic.Delivery() == Latest {
		l.supersede(in)
	}
	for l.every > l.cfg.MaxEvery || l.bytes > l.cfg.MaxBytes && l.count > len(l.air) {
		l.dropOldest()
	}
}

// next is a message that may be sent now; nil if there is none. It is flying from then on.
func (l *lanes) next() *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 || len(l.air) >= l.cfg.Window {
		return nil
	}
	in := l.byTopic[l.ready[0]]
	l.ready = l.ready[1:]
	p := in.waiting[0]
	in.waiting = in.waiting[1:]
	in.flying = p
	l.air[p.id] = p
	l.wait(p, -1)
	return p
}

func (l *lanes) flying(id uint64) *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.air[id]
}

func (l *lanes) sentBefore(t time.Time) []*parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	var late []*parcel
	for _, p := range l.air {
		if p.sentAt.Before(t) {
			late = append(late, p)
		}
	}
	return late
}

// landed forgets p: it was acknowledged, or given up.
func (l *lanes) landed(p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.byTopic[p.topic]
	in.flying = nil
	delete(l.air, p.id)
	l.hold(p, -1)
	if len(in.waiting) > 0 {
		l.ready = append(l.ready, p.topic)
	} else {
		delete(l.byTopic, p.topic)
	}
}

// takeBack puts p before all others of its topic, to be sent once more.
func (l *lanes) takeBack(p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeBackLocked(p)
}

func (l *lanes) takeBackAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.air {
		l.takeBackLocked(p)
	}
}

func (l *lanes) takeBackLocked(p *parcel) {
	in := l.byTopic[p.topic]
	in.flying = nil
	delete(l.air, p.id)
	in.waiting = slices.Insert(in.waiting, 0, p)
	l.wait(p, +1)
	l.ready = append(l.ready, p.topic)
	if p.topic.Delivery() == Latest {
		l.supersede(in)
	}
}

// setStalled says whether NATS takes messages. While it does not, only the newest of each Latest topic is kept.
func (l *lanes) setStalled(stalled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled == stalled {
		return
	}
	l.stalled = stalled
	for topic, in := range l.byTopic {
		if topic.Delivery() == Latest {
			l.supersede(in)
		}
	}
}

// supersede drops what is too much of a Latest topic, the oldest first.
func (l *lanes) supersede(in *lane) {
	keep := maxWaitingLatest
	if l.stalled || len(l.air) >= l.cfg.Window {
		keep = 1
	}
	for len(in.waiting) > keep {
		l.drop(in, dropSuperseded)
	}
}

// dropOldest makes room: by the oldest Every message if there are too many of them, else by the oldest of all.
func (l *lanes) dropOldest() {
	everyOnly := l.every > l.cfg.MaxEvery
	var oldest *lane
	for topic, in := range l.byTopic {
		if len(in.waiting) == 0 || everyOnly && topic.Delivery() != Every {
			continue
		}
		if oldest == nil || in.waiting[0].id < oldest.waiting[0].id {
			oldest = in
		}
	}
	l.drop(oldest, dropFull)
}

// drop gives up the oldest waiting message of a lane.
func (l *lanes) drop(in *lane, reason string) {
	p := in.waiting[0]
	in.waiting = in.waiting[1:]
	l.hold(p, -1)
	l.wait(p, -1)
	l.metrics.outboxDrops[reason].Inc()
	if len(in.waiting) == 0 && in.flying == nil {
		delete(l.byTopic, p.topic)
		l.ready = slices.DeleteFunc(l.ready, func(t Topic) bool { return t == p.topic })
	}
}

func (l *lanes) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count == 0
}

// close drops all that is left, and says how much that was.
func (l *lanes) close() (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left = l.count
	l.metrics.outboxDrops[dropShutdown].Add(float64(left))
	l.closed = true
	l.metrics.buffered.Sub(float64(l.count))
	l.metrics.bufferedBytes.Sub(float64(l.bytes))
	l.byTopic, l.ready, l.air, l.count, l.bytes, l.every = map[Topic]*lane{}, nil, map[uint64]*parcel{}, 0, 0, 0
	return left
}

// hold counts p as being here, or no longer.
func (l *lanes) hold(p *parcel, sign int) {
	l.count += sign
	l.bytes += sign * p.bytes()
	l.metrics.buffered.Add(float64(sign))
	l.metrics.bufferedBytes.Add(float64(sign * p.bytes()))
}

// wait counts p as waiting, or no longer.
func (l *lanes) wait(p *parcel, sign int) {
	if p.topic.Delivery() == Every {
		l.every += sign
	}
}
