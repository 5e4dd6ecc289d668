package edge

// ring holds the most recent frames of a pattern, for those who fell behind and those who come back.
type ring struct {
	frames []*frame
	start  int
	n      int
	bytes  int
	floor  uint64 // every message of the pattern after this place is here
}

// add puts a frame in its place, which is nearly always behind all others, and drops the oldest beyond max.
func (r *ring) add(f *frame, max int) {
	if f.seq <= r.floor {
		return
	}
	if r.n == max {
		if f.seq < r.at(0).seq { // no newer one has to go for it
			r.floor = f.seq
			return
		}
		r.drop()
	}
	if r.n == len(r.frames) {
		grown := make([]*frame, min(max, 2*len(r.frames)+4))
		for i := range r.n {
			grown[i] = r.at(i)
		}
		r.frames, r.start = grown, 0
	}
	r.n++
	r.bytes += len(f.wire)
	i := r.n - 1
	for ; i > 0 && r.at(i-1).seq > f.seq; i-- {
		*r.slot(i) = r.at(i - 1)
	}
	*r.slot(i) = f
}

// drop forgets the oldest frame.
func (r *ring) drop() {
	f := r.frames[r.start]
	r.frames[r.start] = nil
	r.start = (r.start + 1) % len(r.frames)
	r.n--
	r.bytes -= len(f.wire)
	r.floor = max(r.floor, f.seq)
}

// dropNewest forgets the newest frame, as if it had never come.
func (r *ring) dropNewest() {
	i := (r.start + r.n - 1) % len(r.frames)
	r.bytes -= len(r.frames[i].wire)
	r.frames[i] = nil
	r.n--
}

func (r *ring) at(i int) *frame { return *r.slot(i) }

func (r *ring) slot(i int) **frame { return &r.frames[(r.start+i)%len(r.frames)] }

// after is the index of the first frame behind a place; r.n if there is none.
func (r *ring) after(seq uint64) int {
	lo, hi := 0, r.n
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if r.at(mid).seq <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
