package edge

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"tidings/edge/poll"
)

// room tells whether the process has what one more connection takes: a descriptor, and memory. Who comes when it has not is
// refused at the door; those that are inside, the line to NATS and the operator's port must not feel it.
type room struct {
	places int64 // connections at most
	log    *slog.Logger

	tight atomic.Bool // memory is nearly used up
}

// reserve is how many descriptors are kept for all but connections: NATS, which may have to be dialled again, the operator's
// port, files. A process that has very few keeps half of them.
const reserve = 128

func newRoom(connections int, log *slog.Logger) *room {
	r := &room{places: int64(connections), log: log}
	if have := poll.Descriptors(); have > 0 {
		r.places = min(r.places, int64(max(have-reserve, have/2)))
	}
	if r.places < int64(connections) {
		log.Info("there are descriptors for fewer connections than limits.connections allows; ulimit -n sets how many", "connections", r.places)
	}
	return r
}

// memoryEvery is how often the memory is looked at. A look costs some microseconds; thousands of clients may come in a second.
const memoryEvery = 250 * time.Millisecond

// limitEvery is how often it is looked whether there is a limit, where there was none: an idle edge is not to be woken for nothing.
const limitEvery = 2 * time.Second

// watch looks at the memory until ctx ends.
func (r *room) watch(ctx context.Context) {
	gauge := newGauge()
	var cycles uint64
	var collected time.Time // when there was a new one
	for {
		m := gauge.read()
		r.judge(m)
		if now := time.Now(); m.cycles != cycles {
			cycles, collected = m.cycles, now
		} else if r.tight.Load() && now.Sub(collected) > stale(m.live) {
			runtime.GC()
		}
		pause := memoryEvery
		if m.limit == math.MaxInt64 {
			pause = limitEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// stale is how old a collection may be while clients are refused: what those free who leave shows only after one, and an edge
// that takes in nobody allocates little. A MiB takes half a millisecond to mark, so this is 1% of a core at most. Go itself
// waits no longer than two minutes.
func stale(live uint64) time.Duration {
	return max(time.Second, time.Duration(live>>20)*50*time.Millisecond)
}

// judge opens or closes the door.
func (r *room) judge(m memory) {
	tight := m.tight(r.tight.Load())
	if r.tight.Swap(tight) == tight {
		return
	}
	if tight {
		r.log.Warn("memory is nearly used up: new clients are refused", "live", m.live, "left", int64(m.left()), "limit", m.limit)
	} else {
		r.log.Info("there is memory again: new clients are taken in", "live", m.live, "left", int64(m.left()), "limit", m.limit)
	}
}
