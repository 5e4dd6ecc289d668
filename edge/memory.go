package edge

import (
	"math"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
)

// memory is how the process stands, in bytes.
type memory struct {
	limit  int64  // math.MaxInt64: none
	others uint64 // what is no object of the heap: stacks, the runtime's own, holes between objects
	live   uint64 // objects that the last collection left
	cycles uint64 // collections so far
}

// Near the limit that GOMEMLIMIT sets the collector has to run ever more often: whenever what was allocated since fills what the limit
// leaves beside what lives. What it costs for each byte allocated is what it marks divided by that, so both are compared. Clients
// are refused while less than closeBelow of what lives is left, and taken in again when openAbove of it is: what lies between
// is more than one look differs from the next, so that the door does not flap. PERFORMANCE.md says what was measured.
const (
	closeBelow = 0.20
	openAbove  = 0.30
)

// left is what may be allocated between two collections, as the collector reckons: it keeps 3% of what the limit leaves
// to objects, and a MiB at least, for its own inaccuracy.
func (m memory) left() float64 {
	objects := float64(m.limit) - float64(m.others)
	return objects - max(0.03*objects, 1<<20) - float64(m.live)
}

// tight tells whether clients are to be refused, where they were or were not before.
func (m memory) tight(before bool) bool {
	switch {
	case m.limit == math.MaxInt64:
		return false
	case before:
		return m.left() < openAbove*float64(m.live)
	default:
		return m.left() < closeBelow*float64(m.live)
	}
}

// gauge reads how the process stands.
type gauge []runtimemetrics.Sample

func newGauge() gauge {
	return gauge{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
}

func (g gauge) read() memory {
	m := memory{limit: debug.SetMemoryLimit(-1)} // asks
	if m.limit == math.MaxInt64 {
		return m // there is room whatever the rest is
	}
	runtimemetrics.Read(g)
	value := func(i int) uint64 { return g[i].Value.Uint64() }
	m.others, m.live, m.cycles = value(0)-value(1)-value(2)-value(3), value(4), value(5)
	return m
}
