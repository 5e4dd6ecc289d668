package edge

import (
	"errors"

	"github.com/nats-io/nats.go"

	"tidings/bus"
)

// topic is what an edge knows of one topic that somebody wants. Loops use a topic as a key and read its name and kind;
// everything else is the hub's.
type topic struct {
	name  bus.Topic
	every bool // each message matters; otherwise only the newest

	// The hub's.
	seq       uint64      // place of the last message seen
	left      leftOut     // last invalid messages in a row
	last      *frame      // newest message with a place in the stream, of a latest topic
	interests []*interest // those that match
	loops     uint64      // bit set: loops that want its messages
	forgotten bool        // nobody wants it any more; whoever does again begins another one of its name
}

// leftOut is invalid messages that came in a row: the last one's place, and the place of the message before the first.
type leftOut struct {
	seq, prev uint64
}

// stands tells that a latest topic has a value, as far as the edge knows.
func (t *topic) stands() bool { return t.last != nil && !t.last.gone }

// receive takes one message as NATS delivered it.
func (h *hub) receive(raw *nats.Msg) {
	h.metrics.bytesFromNATS.Add(float64(len(raw.Data)))
	h.abreast.took(raw.Size())
	m, err := h.bus.Decode(raw)
	if err != nil {
		// Counted, not logged: a publisher that errs does so many times a second.
		h.metrics.invalid.Inc()
		h.leaveOut(m)
		return
	}
	if m.Seq == 0 && !h.chosen(m.Topic, raw) {
		return
	}
	h.metrics.messages.Inc()
	if t := h.topics[m.Topic]; t != nil && m.Prev == t.left.seq {
		m.Prev = t.left.prev
	}
	if h.holds() {
		h.hold(m)
		return
	}
	if err := h.ingest(m); errors.Is(err, errHole) {
		h.hold(m)
		h.repair("a hole before "+m.Topic.Type(), []bus.Pattern{bus.Pattern(m.Topic)}, h.topics[m.Topic].seq)
	}
}

// takeIn receives all that has come over the line already, also where the hub is to wait for the loops: it takes no less memory here.
func (h *hub) takeIn() {
	for range len(h.listener.C()) {
		h.receive(<-h.listener.C())
	}
}

// leaveOut remembers that a message is not delivered, so that the next one of its topic names the one before as its
// predecessor and nobody looks for what can't be had.
func (h *hub) leaveOut(m bus.Message) {
	if m.Seq == 0 {
		return
	}
	t := h.topic(m.Topic)
	if t == nil {
		return
	}
	if m.Prev != t.left.seq {
		t.left.prev = m.Prev
	}
	t.left.seq = m.Seq
}

// errHole says that a message's predecessor is missing.
var errHole = errors.New("hole")

// ingest passes a message on to whoever wants it. It refuses a message of an `every` topic whose predecessor has not been
// seen; what a topic got twice is dropped.
func (h *hub) ingest(m bus.Message) error {
	t := h.topic(m.Topic)
	if t == nil {
		h.early(m)
		h.passed(m)
		return nil
	}
	if m.Seq != 0 {
		if m.Seq <= t.seq {
			h.suspect()
			return nil
		}
		h.holes = h.holes || m.Prev > t.seq
		if t.every && m.Prev > t.seq {
			return errHole
		}
	}
	f := h.frame(t, m)
	f.late = h.isLate(f)
	if m.Seq != 0 {
		t.seq = m.Seq
		h.passed(m)
	}
	if !t.every && m.Seq != 0 {
		t.last = f
	}
	h.dispatch(t, f)
	return nil
}

// chosen reports whether a copy of a message is the one that counts. NATS brings one for each subscription that matches; those
// with a place in the stream are told by it, others by the subscription that they came by.
func (h *hub) chosen(name bus.Topic, raw *nats.Msg) bool {
	prefix := len(raw.Subject) - len(name)
	by := bus.Pattern(raw.Sub.Subject[prefix:])
	own := h.interests[by]
	for _, in := range h.matching(name) {
		if in.via == nil && (in.pattern < by || own == nil || !own.ready) {
			return false
		}
	}
	return true
}

// frame builds the frame of a message, with a compressed form where some client of the node takes one.
func (h *hub) frame(t *topic, m bus.Message) *frame {
	return dataFrame(t, m, h.deflating.Load() > 0)
}

// dispatch leaves a frame in the inbox of each loop that wants its topic.
func (h *hub) dispatch(t *topic, f *frame) {
	for i, l := range h.loops {
		if t.loops&(1<<i) != 0 {
			l.inbox.put(item{frame: f})
		}
	}
	h.left(f)
}

// topic finds a topic that some ready interest matches, and begins one where a message is the first of its topic. Nil:
// nobody wants it, or not yet.
func (h *hub) topic(name bus.Topic) *topic {
	if t := h.topics[name]; t != nil {
		return t
	}
	t := &topic{name: name, every: name.Delivery() == bus.Every}
	for _, in := range h.matching(name) {
		t.interests = append(t.interests, in)
		t.loops |= in.loops
		// The interest has seen all up to where it was loaded, and none of this topic was there.
		t.seq = max(t.seq, in.loaded)
	}
	if len(t.interests) == 0 {
		return nil
	}
	h.topics[name] = t
	h.metrics.topics.Inc()
	return t
}

// each calls do for every known topic that a pattern matches.
func (h *hub) each(p bus.Pattern, do func(*topic)) {
	if p.IsTopic() {
		if t := h.topics[bus.Topic(p)]; t != nil {
			do(t)
		}
		return
	}
	for _, t := range h.topics {
		if p.Matches(t.name) {
			do(t)
		}
	}
}

// matching lists the ready interests that match a topic.
func (h *hub) matching(name bus.Topic) []*interest {
	var list []*interest
	if in := h.interests[bus.Pattern(name)]; in != nil && in.ready {
		list = append(list, in)
	}
	for _, in := range h.wild {
		if in.ready && in.pattern.Matches(name) {
			list = append(list, in)
		}
	}
	return list
}

// early remembers the newest message of a topic whose interest is still being loaded.
func (h *hub) early(m bus.Message) {
	if m.Seq == 0 {
		return
	}
	keep := func(in *interest) {
		if !in.ready && in.pattern.Matches(m.Topic) {
			if in.early == nil {
				in.early = map[bus.Topic]bus.Message{}
			}
			in.early[m.Topic] = m
		}
	}
	if in := h.interests[bus.Pattern(m.Topic)]; in != nil {
		keep(in)
	}
	for _, in := range h.wild {
		keep(in)
	}
}

// rewire works out anew which loops want a topic, and forgets it when none does.
func (h *hub) rewire(t *topic) {
	t.interests = h.matching(t.name)
	t.loops = 0
	for _, in := range t.interests {
		t.loops |= in.loops
	}
	if len(t.interests) == 0 {
		delete(h.topics, t.name)
		t.forgotten = true
		h.metrics.topics.Dec()
	}
}
