package edge

import (
	"context"
	"errors"
	"time"

	"tidings/bus"
)

// reach is how far the stream reaches, for clients that come from a place which this edge has not come to: others were told of it
// first, or it was in no pattern that is wanted here. Or it is a place of a stream that has since lost its end, and then
// nothing can be recovered from it.
type reach struct {
	end     uint64    // of the stream
	said    time.Time // when the stream did
	asking  bool
	waiting []reacher // those that come while it is asked: what it answers may be older than they are
}

// reacher wants to know whether the stream reaches a place.
type reacher struct {
	seq  uint64
	done func(reaches bool, err error)
}

// errOtherStream says that an answer is of another stream than the one whose positions the loops know.
var errOtherStream = errors.New("the stream was made anew")

// reachFor is how long the stream is taken at its word that it has come to a place.
const reachFor = rereadFor

// reaches asks the stream's leader whether it has come to a place, and tells done, on the hub. Those who come together share the
// answer.
func (h *hub) reaches(seq uint64, done func(reaches bool, err error)) {
	if seq <= h.reach.end && time.Since(h.reach.said) <= reachFor {
		done(true, nil)
		return
	}
	h.reach.waiting = append(h.reach.waiting, reacher{seq, done})
	h.askReach()
}

func (h *hub) askReach() {
	if h.reach.asking || len(h.reach.waiting) == 0 {
		return
	}
	asked := h.reach.waiting
	h.reach.asking, h.reach.waiting = true, nil
	h.work(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		at, sure, err := h.bus.End(ctx)
		return func() {
			h.reach.asking = false
			if err == nil && at.Epoch != h.epoch {
				err = errOtherStream
			}
			if err == nil {
				h.reach.end, h.reach.said = at.Seq, time.Now()
			}
			for _, w := range asked {
				reaches, err := w.seq <= at.Seq, err
				if err == nil && !reaches && !sure {
					err = bus.ErrUnavailable
				}
				w.done(reaches, err)
			}
			h.askReach()
		}
	})
}
