package edge

import (
	"slices"
	"time"

	"tidings/bus"
)

// reread is the reads of the stream that ended a moment ago. When an edge ends, its clients come back to the others within seconds,
// all from about the same place: the first one's read serves them all. What came since it was made is had from what is
// recent, or by another read from its end, which is shared as well.
type reread struct {
	kept  []keptRead // oldest first
	bytes int
}

// keptRead is one of them.
type keptRead struct {
	key   replayKey
	read  bus.Replay
	batch batch
	bytes int
	made  time.Time
}

const (
	rereadFor   = 5 * time.Second
	rereadBytes = 32 << 20 // of frames, over all that are kept
)

// keep remembers a read, unless it was cut short, so that it can't tell of other places, or is larger than all that may be kept.
func (k *reread) keep(key replayKey, read bus.Replay, b batch) {
	r := keptRead{key: key, read: read, batch: b, made: time.Now()}
	for _, f := range b.frames {
		r.bytes += len(f.wire)
	}
	if read.More || r.bytes > rereadBytes {
		return
	}
	k.kept = append(k.kept, r)
	k.bytes += r.bytes
	for k.bytes > rereadBytes {
		k.drop(1)
	}
}

// find looks for a read that brings some of what is wanted. One that ends where that begins would be found again and again.
func (k *reread) find(key replayKey) (replayed, bool) {
	for _, r := range slices.Backward(k.kept) {
		if time.Since(r.made) > rereadFor {
			break
		}
		if !r.batch.stale() && r.key.serves(key) && key.after < r.read.Position.Seq {
			if got, ok := from(r.key.after, key.after, r.read, r.batch); ok {
				return got, true
			}
		}
	}
	return replayed{}, false
}

// forget drops what is too old to be found.
func (k *reread) forget() {
	n := 0
	for n < len(k.kept) && time.Since(k.kept[n].made) > rereadFor {
		n++
	}
	k.drop(n)
}

// drop gives up the n oldest.
func (k *reread) drop(n int) {
	for _, r := range k.kept[:n] {
		k.bytes -= r.bytes
	}
	k.kept = slices.Delete(k.kept, 0, n)
}
