package edge

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// Limits of a repair.
const (
	heldMax     = 64 << 10 // live messages held back meanwhile; what comes after them is a hole of its own
	heldBytes   = 64 << 20 // and their payloads' bytes
	repairRead  = 1000     // messages read from the stream at a time, and passed on before more are: a long outage's would not fit into memory
	repairBytes = 8 << 20  // and about their bytes

	suspectEvery = 2 * time.Second // between two looks at the stream's epoch
)

// holds reports whether live messages are held back.
func (h *hub) holds() bool { return h.repairing || h.degraded }

// hold keeps a live message until the repair is done.
func (h *hub) hold(m bus.Message) {
	if len(h.held) >= heldMax || h.heldBytes >= heldBytes {
		h.repairAgain(h.at)
		return
	}
	h.held = append(h.held, m)
	h.heldBytes += len(m.Payload)
}

// holdBack makes messages those that are held back.
func (h *hub) holdBack(held []bus.Message) {
	h.held, h.heldBytes = held, 0
	for _, m := range held {
		h.heldBytes += len(m.Payload)
	}
}

// repair reads from the stream what is missing of some patterns after a place, passes it on, and then what was held
// back meanwhile. Only one runs at a time; a second cause makes the same one go on until all is there. The whole edge
// waits: a message that overtook another would make a position that a client resumes from a lie.
func (h *hub) repair(why string, patterns []bus.Pattern, after uint64) {
	if h.repairing {
		h.repairAgain(after)
		return
	}
	h.repairing = true
	h.metrics.repairs.Inc()
	h.log.Info("reading what is missing from the stream", "cause", why, "after", after)
	h.readMissing(patterns, after)
}

// readMissing reads the next part of what is missing, and with the last one how things stand, when the loops have taken the one before: a
// loop with thousands of connections that do not read takes longer for a part than its reading does, and hundreds of MB would add up.
func (h *hub) readMissing(patterns []bus.Pattern, after uint64) {
	epoch := h.epoch // of which after is a place
	h.whenTaken(func() { h.readPart(patterns, after, epoch) })
}

func (h *hub) readPart(patterns []bus.Pattern, after uint64, epoch string) {
	line, past, proven := h.up, h.past(), h.proven.Equal(h.up)
	h.work(func(ctx context.Context) func() {
		var part bus.Replay
		var last bus.Snapshot
		var found end
		err := h.patiently(ctx, "read what is missing", func(ctx context.Context) error {
			// The subscriptions have to be in force again before the stream is read, or a message
			// between the two would be in neither.
			err := h.bus.Flush(ctx)
			if err == nil && !proven {
				found, err = past.find(ctx, h.bus, epoch)
			}
			if err == nil && !found.lost {
				part, err = h.bus.AfterWithin(ctx, after, repairRead, repairBytes, patterns...)
			}
			if err == nil && !found.lost && !part.More {
				last, err = h.bus.Last(ctx, patterns...)
			}
			return err
		})
		return func() {
			switch {
			case err != nil: // the hub is being stopped
			case epoch != h.epoch: // which somebody else noticed meanwhile
				h.repairing, h.again = false, false
				h.repair("the stream was made anew", h.roots(), 0)
			case found.lost:
				h.repairing = false
				h.rewind(found.kept)
			case part.More:
				h.proven = line
				h.repairedPart(patterns, part)
			default:
				h.proven = line
				h.repaired(patterns, part, last)
			}
		}
	})
}

// repairedPart passes on the next part of what is missing, and goes on behind it.
func (h *hub) repairedPart(patterns []bus.Pattern, part bus.Replay) {
	now := time.Now()
	if h.setEpoch(part.Position.Epoch) || part.Position.Epoch != h.epoch {
		h.repairing = false
		h.repair("the stream was made anew", h.roots(), 0)
		return
	}
	h.tellLost(part, now)
	h.repairing = false // another hole may have to be repaired first
	if !h.passOn(patterns, part.Messages, part.Position.Seq, now) {
		h.repairAgain(part.Position.Seq)
		return
	}
	h.repairing = true
	h.readMissing(patterns, part.Position.Seq)
}

// tellLost tells what a read found to be gone from the stream.
func (h *hub) tellLost(r bus.Replay, now time.Time) {
	for _, loss := range r.Lost {
		if t := h.topic(loss.Topic); t != nil && loss.Before > t.seq+1 {
			h.lost(t, bus.Loss{Topic: loss.Topic, After: max(loss.After, t.seq), Before: loss.Before}, wire.GapUpstream, now)
			t.seq = max(t.seq, loss.Before-1)
		}
	}
}

// repairAgain has another repair follow the one under way.
func (h *hub) repairAgain(after uint64) {
	if !h.again || after < h.againAfter {
		h.again, h.againAfter = true, after
	}
}

// repaired passes on the last part of what a repair brought, and ends it.
func (h *hub) repaired(patterns []bus.Pattern, part bus.Replay, last bus.Snapshot) {
	now := time.Now()
	h.repairing = false
	if h.setEpoch(last.Position.Epoch) || part.Position.Epoch != h.epoch {
		h.repair("the stream was made anew", h.roots(), 0)
		return
	}
	h.tellLost(part, now)
	retained := map[bus.Topic]bool{}
	for _, m := range last.Messages {
		retained[m.Topic] = true
	}
	for _, p := range patterns {
		h.each(p, func(t *topic) {
			if t.stands() && !retained[t.name] && t.last.seq <= last.Position.Seq {
				t.last = h.frame(t, bus.Message{Topic: t.name, Time: now, Gone: true})
				h.dispatch(t, t.last)
			}
		})
	}
	// Values that are older than what was read, and yet news: the stream lost those that came after them.
	older := slices.DeleteFunc(last.Messages, func(m bus.Message) bool {
		return m.Topic.Delivery() != bus.Latest || m.Seq > part.Position.Seq
	})
	missing := slices.Concat(older, part.Messages)
	slices.SortStableFunc(missing, bySeqOfMessage)
	if !h.passOn(patterns, missing, math.MaxUint64, now) {
		return
	}
	if h.again {
		h.again = false
		h.repair("more was lost meanwhile", h.roots(), h.againAfter)
		return
	}
	if h.degraded && h.bus.State().Connected {
		h.tellStatus(false, now)
	}
}

// passOn merges what was read with what was held back up to a place, by place: a client takes the highest place it has seen for a
// position. It stops where another hole shows.
func (h *hub) passOn(patterns []bus.Pattern, missing []bus.Message, upTo uint64, now time.Time) (all bool) {
	held := h.held
	placed := slices.ContainsFunc(held, func(m bus.Message) bool { return m.Seq != 0 }) // and did not all bypass the stream
	if placed && !h.areRoots(patterns) {
		// What is behind the last one held is still on its way, of all other topics and hence of these.
		last := slices.MaxFunc(held, bySeqOfMessage).Seq
		i, _ := slices.BinarySearchFunc(missing, last+1, func(m bus.Message, seq uint64) int { return cmp.Compare(m.Seq, seq) })
		missing = missing[:i]
	}
	later := slices.IndexFunc(held, func(m bus.Message) bool { return m.Seq > upTo })
	if later < 0 {
		later = len(held)
	}
	h.holdBack(slices.Clone(held[later:]))
	held = held[:later]
	for len(missing) > 0 || len(held) > 0 {
		if len(held) == 0 || (len(missing) > 0 && missing[0].Seq <= held[0].Seq) {
			h.force(missing[0], now)
			missing = missing[1:]
			continue
		}
		if m := held[0]; h.ingest(m) == errHole {
			if len(patterns) != 1 || string(patterns[0]) != string(m.Topic) {
				back := slices.Concat(held, missing, h.held)
				slices.SortStableFunc(back, bySeqOfMessage)
				h.holdBack(back)
				h.repair("another hole", []bus.Pattern{bus.Pattern(m.Topic)}, h.topics[m.Topic].seq)
				return false
			}
			h.force(m, now) // the stream has been asked, and does not have it
		}
		held = held[1:]
	}
	return true
}

func bySeqOfMessage(a, b bus.Message) int { return cmp.Compare(a.Seq, b.Seq) }

// letGo passes on what was held back while nobody was to get anything.
func (h *hub) letGo() {
	held := h.held
	h.holdBack(nil)
	for _, m := range held {
		_ = h.ingest(m)
	}
}

// areRoots reports whether patterns are subscribed at NATS as they are, so that all their topics were read together.
func (h *hub) areRoots(patterns []bus.Pattern) bool {
	return !slices.ContainsFunc(patterns, func(p bus.Pattern) bool {
		in := h.interests[p]
		return in == nil || in.via != nil
	})
}

// suspect looks whether the stream is still the one that it was, now and then: a new one counts from 1 again, and one that lost its
// end from there, so its messages look like old ones.
func (h *hub) suspect() {
	now := time.Now()
	if h.repairing || now.Before(h.nextSuspect) {
		return
	}
	h.nextSuspect = now.Add(suspectEvery)
	epoch, past := h.epoch, h.past()
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		found, err := past.find(ctx, h.bus, epoch)
		return func() {
			switch {
			case err != nil:
			case found.epoch != h.epoch:
				if h.setEpoch(found.epoch) {
					h.repair("the stream was made anew", h.roots(), 0)
				}
			case found.lost && h.repairing:
				h.proven = time.Time{} // what is read next finds it too
			case found.lost:
				h.rewind(found.kept)
			}
		}
	})
}

// force passes a message on although its predecessor is missing, which is said before it.
func (h *hub) force(m bus.Message, now time.Time) {
	t := h.topic(m.Topic)
	if t == nil || (m.Seq != 0 && m.Seq <= t.seq) {
		return
	}
	if t.every && m.Prev > t.seq {
		h.lost(t, bus.Loss{Topic: t.name, After: t.seq, Before: m.Seq}, wire.GapUpstream, now)
		t.seq = m.Prev
	}
	_ = h.ingest(m)
}
