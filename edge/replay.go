package edge

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"tidings/bus"
)

// replayKey says what a loop wants to have read from the stream.
type replayKey struct {
	patterns string // joined by spaces, sorted
	limit    int    // messages at most
	after    uint64 // all after this place
	last     int    // or, if not 0, the last n of each topic
	refill   bool   // for who fell behind, not for who came back
}

func newReplayKey(patterns []bus.Pattern, limit int) replayKey {
	names := make([]string, len(patterns))
	for i, p := range patterns {
		names[i] = string(p)
	}
	slices.Sort(names)
	return replayKey{patterns: strings.Join(names, " "), limit: limit}
}

func (k replayKey) split() []bus.Pattern {
	var patterns []bus.Pattern
	for name := range strings.FieldsSeq(k.patterns) {
		patterns = append(patterns, bus.Pattern(name))
	}
	return patterns
}

// replay is a read under way, with those who wait for it.
type replay struct {
	key     replayKey
	waiting []waiter
}

// waiter wants what came after a place, which may lie behind that of the read that it waits for.
type waiter struct {
	after uint64
	done  func(replayed)
}

// batch is the frames of messages that were read, which all who want them share, and the topics that they are of.
type batch struct {
	frames []*frame
	topics []*topic
	sure   uint64 // those up to this place have been passed on
}

// stale reports whether the frames are of a topic that has been forgotten since, and mean nothing to a loop that came to want it again.
func (b batch) stale() bool {
	return slices.ContainsFunc(b.topics, func(t *topic) bool { return t.forgotten })
}

// replayed is what a replay brought: frames in rising seq, and all of the patterns' up to at.
type replayed struct {
	frames   []*frame
	sure     uint64 // those of the frames up to this place have been passed on
	lost     []bus.Loss
	complete bool
	more     bool
	at       bus.Position
	err      error
}

// then is what two reads in a row brought, the second from where the first one ended. The first may be nil.
func (r *replayed) then(next replayed) *replayed {
	if r != nil {
		if n := len(r.frames); n > 0 && r.frames[n-1].seq > r.sure {
			next.sure = r.sure
		}
		next.frames = slices.Concat(r.frames, next.frames)
		next.lost = slices.Concat(r.lost, next.lost)
		next.complete = next.complete && r.complete
	}
	return &next
}

// near is how far behind the start of a read others may join it, in places of the stream. Clients of an edge that ended come back
// to places that lie as far apart as what they had last; further apart, one would wait for what another needs.
const near = 10_000

// serves reports whether a read for k brings what is wanted by another.
func (k replayKey) serves(other replayKey) bool {
	same := k.patterns == other.patterns && k.limit == other.limit && k.last == other.last
	return same && k.after <= other.after && other.after-k.after <= near
}

// replay reads messages from the stream and tells done, on the hub. Those who want the same, or nearly the same, share one read:
// one that is under way, or one that ended a moment ago.
func (h *hub) replay(key replayKey, done func(replayed)) {
	if had, ok := h.reread.find(key); ok {
		done(had)
		return
	}
	w := waiter{key.after, done}
	for _, r := range h.replays {
		if r.key.serves(key) {
			r.waiting = append(r.waiting, w)
			return
		}
	}
	r := &replay{key: key, waiting: []waiter{w}}
	h.replays = append(h.replays, r)
	h.metrics.replays[key.refill].Inc()
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		if key.last > 0 {
			snapshot, err := h.bus.LastN(ctx, key.split()[0], key.last)
			messages := snapshot.Messages[max(0, len(snapshot.Messages)-key.limit):]
			return func() {
				h.replays = slices.DeleteFunc(h.replays, func(other *replay) bool { return other == r })
				b := h.batch(messages)
				got := replayed{frames: b.frames, sure: b.sure, at: snapshot.Position, complete: true, err: err}
				for _, w := range r.waiting {
					w.done(got)
				}
			}
		}
		read, err := h.bus.After(ctx, key.after, key.limit, key.split()...)
		return func() {
			h.replays = slices.DeleteFunc(h.replays, func(other *replay) bool { return other == r })
			h.answer(r, read, err)
		}
	})
}

// answer tells those who waited for a read. Those of whom it can't tell, since it was cut short before their place or ended before
// it, have theirs read, and share that.
func (h *hub) answer(r *replay, read bus.Replay, err error) {
	b := h.batch(read.Messages)
	if err == nil {
		h.reread.keep(r.key, read, b)
	}
	slices.SortStableFunc(r.waiting, func(a, b waiter) int { return cmp.Compare(a.after, b.after) })
	for _, w := range r.waiting {
		if err != nil {
			w.done(replayed{err: err})
			continue
		}
		got, ok := from(r.key.after, w.after, read, b)
		if ok {
			w.done(got)
			continue
		}
		key := r.key
		key.after = w.after
		h.replay(key, w.done)
	}
}

// from is what a read after one place brings to who wants what came after another.
func from(place, after uint64, read bus.Replay, b batch) (replayed, bool) {
	frames := b.frames
	if after != place {
		var ok bool
		if read, ok = read.From(after); !ok {
			return replayed{}, false
		}
		i, _ := slices.BinarySearchFunc(frames, after+1, func(f *frame, seq uint64) int { return cmp.Compare(f.seq, seq) })
		frames = frames[i:]
	}
	return replayed{frames: frames, sure: b.sure, at: read.Position, complete: read.Complete, more: read.More, lost: read.Lost}, true
}

// batch builds the frames of messages that were read, by rising seq, of topics that somebody wants, and tells the loops how far these
// have been passed on. A message that should have come long ago is missed, and repaired.
func (h *hub) batch(messages []bus.Message) batch {
	b := batch{frames: make([]*frame, 0, len(messages)), sure: h.at}
	seen := map[*topic]bool{}
	var missed *topic
	for _, m := range messages {
		t := h.topic(m.Topic)
		if t == nil {
			continue
		}
		b.frames = append(b.frames, h.frame(t, m))
		if !seen[t] {
			seen[t] = true
			b.topics = append(b.topics, t)
		}
		if m.Seq > t.seq && m.Seq <= h.at && missed == nil {
			missed, b.sure = t, m.Seq-1
		}
	}
	topics := make([]known, len(b.topics))
	for i, t := range b.topics {
		topics[i] = known{topic: t, seq: t.seq}
	}
	for _, l := range h.loops {
		l.post(func(l *loop) { l.learn(topics) })
	}
	switch {
	case missed == nil:
	case h.repairing: // which would have all patterns read, from where one topic is
		h.holes = true // so that the audit looks
	default: // of other topics it shows in the same way, or when they go on
		h.repair("the stream has what never came of "+missed.name.Type(), []bus.Pattern{bus.Pattern(missed.name)}, missed.seq)
	}
	return b
}
