package edge

import (
	"context"
	"time"

	"tidings/bus"
)

// auditEvery is how often the hub asks the stream for the last message of each `every` topic. What it has not passed on at
// two looks in a row is lost, so that a lost last message, which no later one betrays, is found within twice this. A
// latest topic needs no audit: its next value is on its way.
const auditEvery = 15 * time.Second

// audit compares what was passed on with what the stream has.
func (h *hub) audit() {
	var patterns []bus.Pattern
	for _, p := range h.roots() {
		if bus.Topic(p).Delivery() == bus.Every { // or may match such a topic
			patterns = append(patterns, p)
		}
	}
	if h.degraded || h.repairing || h.auditing || len(patterns) == 0 {
		return
	}
	h.auditing = true
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		snapshot, err := h.bus.Last(ctx, patterns...)
		return func() {
			h.auditing = false
			if err == nil && snapshot.Position.Epoch == h.epoch {
				h.compare(snapshot)
			}
		}
	})
}

// compare finds topics whose last message did not come, and has them repaired the second time.
func (h *hub) compare(snapshot bus.Snapshot) {
	before := h.suspected
	h.suspected = map[bus.Topic]uint64{}
	var lost []bus.Pattern
	after := snapshot.Position.Seq
	for _, m := range snapshot.Messages {
		t := h.topic(m.Topic)
		if t == nil || !t.every || m.Seq <= t.seq {
			continue
		}
		if before[m.Topic] != m.Seq {
			h.suspected[m.Topic] = m.Seq // it may be on its way
			continue
		}
		lost = append(lost, bus.Pattern(m.Topic))
		after = min(after, t.seq)
	}
	if len(lost) > 0 {
		h.repair("messages that never came", lost, after)
	}
}
