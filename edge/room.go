package edge

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
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

// Memory counts as nearly used up when what no garbage collection would free takes more than this part of the limit that
// GOMEMLIMIT sets. Above it the collector runs nearly all the time, and what clients make grow has little left to grow into.
const tightAbove = 0.85

// memoryEvery is how often the memory is looked at. A look costs some microseconds.
const memoryEvery = time.Second

// watch looks at the memory until ctx ends.
func (r *room) watch(ctx context.Context) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	for {
		r.look(samples)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look compares what the process needs with what it may take. Without a limit there is room.
func (r *room) look(samples []runtimemetrics.Sample) {
	limit := debug.SetMemoryLimit(-1) // asks
	tight, needed := false, uint64(0)
	if limit != math.MaxInt64 {
		runtimemetrics.Read(samples)
		// Live after the last collection, and all that is no heap: stacks, the runtime's own.
		needed = samples[0].Value.Uint64() + samples[1].Value.Uint64()
		for _, s := range samples[2:] {
			needed -= s.Value.Uint64()
		}
		tight = float64(needed) > tightAbove*float64(limit)
	}
	if r.tight.Swap(tight) == tight {
		return
	}
	if tight {
		r.log.Warn("memory is nearly used up: new clients are refused", "needed", needed, "limit", limit)
	} else {
		r.log.Info("there is memory again: new clients are taken in", "needed", needed, "limit", limit)
	}
}
