package edge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// trail is what an edge remembers of the stream's past: places that it came to, and what stood there. A power cut may cost a stream
// its end, which edges passed on before; then it goes on from there under the same epoch and gives the places away a second time,
// so that its new messages look like old ones. What stood at a place tells.
type trail struct {
	reached uint64     // highest place that is accounted for
	tip     bus.Mark   // and the highest that was passed on
	marks   []bus.Mark // earlier tips, oldest first, the last one the tip's or before it
}

// NATS writes to disk every two minutes, unless it is told otherwise: so much is what a power cut can cost.
const (
	markEvery = time.Second
	marksKept = 300
)

// pass notes a message that was passed on.
func (t *trail) pass(m bus.Message) {
	t.tip = m.Mark()
	if n := len(t.marks); n == 0 || m.Time.Sub(t.marks[n-1].Time).Abs() >= markEvery {
		t.mark()
	}
}

// mark notes where the stream is.
func (t *trail) mark() {
	if t.tip.Seq == 0 || (len(t.marks) > 0 && t.marks[len(t.marks)-1].Seq == t.tip.Seq) {
		return
	}
	if len(t.marks) == marksKept {
		t.marks = slices.Delete(t.marks, 0, 1)
	}
	t.marks = append(t.marks, t.tip)
}

// rewind forgets what is behind a place.
func (t *trail) rewind(to uint64) {
	t.marks = slices.DeleteFunc(t.marks, func(m bus.Mark) bool { return m.Seq > to })
	t.tip, t.reached = bus.Mark{}, min(t.reached, to)
	if n := len(t.marks); n > 0 {
		t.tip = t.marks[n-1]
	}
}

// end is what became of the end of a stream.
type end struct {
	epoch string // of the stream that was asked; nothing else is told of one that was made anew
	lost  bool
	kept  uint64 // where it was: the last place known to be as it was
}

// A new leader may know less for a moment than the one before it. Only one that keeps to it has lost something.
const (
	shorterFor   = 2 * time.Second
	shorterEvery = 250 * time.Millisecond
)

// find asks the stream's leader whether it still has what was passed on.
func (t trail) find(ctx context.Context, b *bus.Conn, epoch string) (end, error) {
	for since := time.Now(); ; {
		at, sure, err := b.End(ctx)
		switch {
		case err != nil || at.Epoch != epoch:
			return end{epoch: at.Epoch}, err
		case at.Seq >= t.reached:
			same, err := t.stands(ctx, b, t.tip)
			if err != nil || same {
				return end{epoch: epoch}, err
			}
			return t.search(ctx, b, at)
		case !sure:
			return end{}, fmt.Errorf("the stream ends before what was passed on, by a leader without the others: %w", bus.ErrUnavailable)
		case time.Since(since) >= shorterFor:
			return t.search(ctx, b, at)
		}
		select {
		case <-ctx.Done():
			return end{}, ctx.Err()
		case <-time.After(shorterEvery):
		}
	}
}

// stands reports whether nothing speaks against a mark: a message that is no longer retained does not.
func (t trail) stands(ctx context.Context, b *bus.Conn, m bus.Mark) (bool, error) {
	if m.Seq == 0 {
		return true, nil
	}
	same, found, err := b.Stands(ctx, m)
	return same || !found, err
}

// search looks for the last mark that is as it was, in a stream that ends at a place. Where none is left to tell, all that was marked is
// taken for lost.
func (t trail) search(ctx context.Context, b *bus.Conn, at bus.Position) (end, error) {
	for _, m := range slices.Backward(t.marks) {
		same, _, err := b.Stands(ctx, m)
		if err != nil || same {
			return end{epoch: at.Epoch, lost: true, kept: m.Seq}, err
		}
	}
	kept := min(at.Seq, t.reached)
	if len(t.marks) > 0 {
		kept = min(kept, t.marks[0].Seq-1)
	}
	return end{epoch: at.Epoch, lost: true, kept: kept}, nil
}

// passed notes that all up to a message was passed on.
func (h *hub) passed(m bus.Message) {
	if m.Seq > h.at {
		h.at = m.Seq
		h.trail.pass(m)
	}
}

// past is the trail as it is now, for a worker to ask the stream about.
func (h *hub) past() trail {
	t := h.trail
	t.marks = slices.Clone(t.marks)
	t.reached = h.at
	for _, in := range h.interests {
		t.reached = max(t.reached, in.loaded)
	}
	return t
}

// rewind goes back to the last place where the stream is what it was, tells who was sent what is not in it any more, and has all be
// read again from there. Positions behind that place may be of either life: nothing is recovered from them here.
func (h *hub) rewind(to uint64) {
	was := h.past().reached
	h.log.Warn("the stream lost messages that were passed on, and goes on without them", "kept", to, "had", was)
	h.metrics.rewinds.Inc()
	now := time.Now()
	for _, t := range h.topics {
		if t.seq <= to {
			continue
		}
		if t.every {
			h.lost(t, bus.Loss{Topic: t.name, After: to, Before: t.seq + 1}, wire.GapEpoch, now)
		}
		t.seq, t.left = to, leftOut{}
		if t.last != nil && t.last.seq > to {
			t.seq, t.last = 0, nil
		}
	}
	for _, in := range h.interests {
		in.loaded, in.early = min(in.loaded, to), nil
	}
	h.reread = reread{}
	h.reach.said = time.Time{}
	h.at, h.granted, h.again = to, min(h.granted, to), false
	h.trail.rewind(to)
	h.holdBack(nil) // it is read again
	for _, l := range h.loops {
		l.post(func(l *loop) {
			l.rewind(to)
			l.doubt = l.doubt.and(doubt{to, was})
		})
	}
	h.repair("the stream lost its end", h.roots(), to)
}

// doubt is places of the stream, behind after and up to upTo, that had two lives under one epoch.
type doubt struct{ after, upTo uint64 }

func (d doubt) of(seq uint64) bool { return seq > d.after && seq <= d.upTo }

// and is the doubt of both.
func (d doubt) and(other doubt) doubt {
	if d.upTo == 0 {
		return other
	}
	return doubt{min(d.after, other.after), max(d.upTo, other.upTo)}
}
