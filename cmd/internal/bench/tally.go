package bench

// tally is what clients have counted.
type tally struct {
	bytes     int64 // read from sockets
	arrived   int64 // messages of this run
	strangers int64 // messages of topics that the client did not subscribe to
	repeated  int64 // messages that came a second time, or out of order
	holes     int64 // messages whose predecessor did not come: prev > last (PROTOCOL §4)
	gaps      int64 // gap messages: the edge says that something is lost
	unrest    int64 // status and going_away messages: the edge was not itself
	lost      map[string]int
	latency   latency    // of the messages that were due while it was measured
	parts     [3]latency // those that were due before, during and after a storm, where there is one
}

// The parts.
const (
	beforeStorm = iota
	duringStorm
	afterStorm
)

func newTally() tally {
	t := tally{lost: map[string]int{}, latency: newLatency()}
	for i := range t.parts {
		t.parts[i] = newLatency()
	}
	return t
}

func (t *tally) add(other *tally) {
	t.bytes += other.bytes
	t.arrived += other.arrived
	t.strangers += other.strangers
	t.repeated += other.repeated
	t.holes += other.holes
	t.gaps += other.gaps
	t.unrest += other.unrest
	for why, n := range other.lost {
		t.lost[why] += n
	}
	t.latency.Merge(other.latency.Histogram)
	for i := range t.parts {
		t.parts[i].Merge(other.parts[i].Histogram)
	}
}
