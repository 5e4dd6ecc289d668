package edge

import (
	"context"
	"slices"
	"strings"

	"tidings/bus"
)

// replayKey says what a loop wants to have read from the stream. Those who want the same at the same time share one read.
type replayKey struct {
	patterns string // joined by spaces, sorted
	limit    int    // messages at most
	after    uint64 // all after this place
	last     int    // or, if not 0, the last n of each topic
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
	waiting []func(replayed)
}

// replayed is what a replay brought: frames in rising seq, and all of the patterns' up to at.
type replayed struct {
	frames   []*frame
	lost     []bus.Loss
	complete bool
	more     bool
	at       bus.Position
	err      error
}

// then is what two reads in a row brought, the second from where the first one ended. The first may be nil.
func (r *replayed) then(next replayed) *replayed {
	if r != nil {
		next.frames = slices.Concat(r.frames, next.frames)
		next.lost = slices.Concat(r.lost, next.lost)
		next.complete = next.complete && r.complete
	}
	return &next
}

// replay reads messages from the stream and tells done, on the hub.
func (h *hub) replay(key replayKey, done func(replayed)) {
	if r := h.replays[key]; r != nil {
		r.waiting = append(r.waiting, done)
		return
	}
	r := &replay{waiting: []func(replayed){done}}
	h.replays[key] = r
	h.metrics.replays.Inc()
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		var messages []bus.Message
		var got replayed
		if key.last > 0 {
			var snapshot bus.Snapshot
			snapshot, got.err = h.bus.LastN(ctx, key.split()[0], key.last)
			messages, got.at, got.complete = snapshot.Messages, snapshot.Position, true
			messages = messages[max(0, len(messages)-key.limit):]
		} else {
			var rep bus.Replay
			rep, got.err = h.bus.After(ctx, key.after, key.limit, key.split()...)
			messages, got.at, got.complete, got.more, got.lost = rep.Messages, rep.Position, rep.Complete, rep.More, rep.Lost
		}
		return func() {
			delete(h.replays, key)
			for _, m := range messages {
				if t := h.topic(m.Topic); t != nil {
					got.frames = append(got.frames, h.frame(t, m))
				}
			}
			for _, done := range r.waiting {
				done(got)
			}
		}
	})
}
