package edge

import (
	"context"
	"time"

	"tidings/bus"
)

// auditEvery is how often the hub asks the stream for the last message of each `every` topic. What it has not passed on at
// two looks in a row is lost, so that a lost last message, which no later one betrays, is found within twice this.
//
// Values of latest topics may be many and large, and the next one is on its way. They are looked at only when a hole showed,
// in whatever topic: then others may have lost their last message too, or the word that they lapsed.
const auditEvery = 15 * time.Second

// audit compares what was passed on with what the stream has.
func (h *hub) audit() {
	if !h.degraded && h.anyReady() {
		h.suspect()
	}
	all := h.holes || len(h.suspected) > 0
	var patterns []bus.Pattern
	for _, p := range h.roots() {
		if all || bus.Topic(p).Delivery() == bus.Every { // or may match such a topic
			patterns = append(patterns, p)
		}
	}
	if h.degraded || h.repairing || h.auditing || len(patterns) == 0 {
		return
	}
	h.auditing, h.holes = true, false
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		snapshot, err := h.bus.Ends(ctx, patterns...)
		return func() {
			h.auditing = false
			if err == nil && snapshot.Position.Epoch == h.epoch {
				h.compare(snapshot, patterns)
			} else {
				h.holes = h.holes || all
			}
		}
	})
}

// compare finds topics whose last message did not come, and has them repaired the second time.
func (h *hub) compare(snapshot bus.Snapshot, patterns []bus.Pattern) {
	before := h.suspected
	h.suspected = map[bus.Topic]uint64{}
	var lost []bus.Pattern
	after := snapshot.Position.Seq
	missed := func(t *topic, seq uint64) {
		if before[t.name] != seq {
			h.suspected[t.name] = seq // it may be on its way
			return
		}
		lost = append(lost, bus.Pattern(t.name))
		after = min(after, t.seq)
	}
	retained := map[bus.Topic]bool{}
	for _, m := range snapshot.Messages {
		retained[m.Topic] = true
		if t := h.topic(m.Topic); t != nil && m.Seq > t.seq {
			missed(t, m.Seq)
		}
	}
	for _, p := range patterns {
		h.each(p, func(t *topic) {
			if t.stands() && !retained[t.name] && t.last.seq <= snapshot.Position.Seq {
				missed(t, t.last.seq)
			}
		})
	}
	if len(lost) > 0 {
		h.repair("messages that never came", lost, after)
	}
}
