package edge

import (
	"time"

	"github.com/gobwas/ws"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// turn is what one turn of a loop has to send: the frames, and for each connection that is due some of them a chain
// of dues. Everything in it is used again in the next turn, so that a delivery allocates nothing.
type turn struct {
	frames []*frame
	dues   []due
	marked []uint32 // slots of connections with something due
	took   []int64  // when the stream took the live messages, Unix nanoseconds

	bundles map[uint64]int // by hash of the chain: where in built
	built   []bundle
	beat    *frame   // this turn's heartbeat
	batch   []*frame // of one connection that catches up
	next    []int    // places in its feeds
	values  []*view  // its latest topics, in the order of their values
}

// due is a frame that a connection is owed, and the next one.
type due struct {
	frame int32
	next  int32
}

// duesMax is how many dues gather before they are written: those of a long backlog for many connections would take more memory than the
// messages do. A loop keeps the room for so many, 8 MB.
const duesMax = 1 << 20

// bundle is the bytes of several frames in a row, made once for all connections that are due the same.
type bundle struct {
	chain   []int32 // frames
	deflate bool    // in their compressed form
	bytes   []byte
}

// bundleMax is how many bytes are copied together. Longer chains are written piece by piece: a socket
// buffer holds no more in one go.
const bundleMax = 256 << 10

// bundlesMax is how many bundles are kept in a turn. Where more connections than that are each due something
// else, sharing is rare, and the buffers would add up.
const bundlesMax = 32

func (t *turn) init() { t.bundles = map[uint64]int{} }

func (t *turn) reset() {
	clear(t.frames)
	t.frames, t.dues, t.marked, t.took = t.frames[:0], t.dues[:0], t.marked[:0], t.took[:0]
	clear(t.bundles)
	t.built = t.built[:0]
	t.beat = nil
}

// heartbeat is the ping and the heartbeat of this turn, as one piece for all who are due it.
func (t *turn) heartbeat(now time.Time) *frame {
	if t.beat == nil {
		ping := controlFrame(ws.OpPing, nil).wire
		beat := newFrame(wire.AppendHeartbeat(nil, now.UnixMilli())).wire
		t.beat = &frame{wire: append(append(make([]byte, 0, len(ping)+len(beat)), ping...), beat...)}
	}
	return t.beat
}

// spread marks every subscriber of a frame's topic.
func (l *loop) spread(f *frame) {
	v := l.views[f.topic]
	if v == nil {
		if v = l.view(f.topic); len(v.feeds) == 0 { // let go of while it was on its way
			l.unview(v)
			return
		}
	}
	l.at = max(l.at, f.seq)
	v.seq = max(v.seq, f.place())
	every := f.topic.every
	if !every && !f.lost {
		v.take(f)
	}
	if f.took != 0 {
		l.turn.took = append(l.turn.took, f.took)
	}
	l.turn.frames = append(l.turn.frames, f)
	index := int32(len(l.turn.frames) - 1)
	l.stamp++
	for _, feed := range v.feeds {
		if !feed.open {
			continue
		}
		feed.seq = max(feed.seq, f.seq)
		if every && f.seq != 0 {
			l.keep(feed, f)
		}
		for _, slot := range feed.subs {
			c := l.conns.at(slot)
			if c.stamp == l.stamp {
				continue
			}
			c.stamp = l.stamp
			if f.late && c.beyond(v, f) {
				continue
			}
			if c.slow {
				l.spreadSlow(slot, c, v, f)
				continue
			}
			l.due(slot, c, index)
		}
	}
}

// due appends a frame of this turn to a connection's chain.
func (l *loop) due(slot uint32, c *conn, frame int32) {
	t := &l.turn
	d := int32(len(t.dues))
	t.dues = append(t.dues, due{frame: frame, next: -1})
	if c.tail < 0 {
		c.head = d
		t.marked = append(t.marked, slot)
	} else {
		t.dues[c.tail].next = d
	}
	c.tail = d
}

// owe gives one connection a frame of its own, behind what it is due already.
func (l *loop) owe(slot uint32, c *conn, f *frame) {
	if c.lag != nil {
		c.lag.append(f)
		return
	}
	l.turn.frames = append(l.turn.frames, f)
	l.due(slot, c, int32(len(l.turn.frames)-1))
}

// mark has a lagging connection looked after at the end of the turn.
func (l *loop) mark(slot uint32, c *conn) {
	if c.head < 0 {
		l.turn.marked = append(l.turn.marked, slot)
	}
}

// flush sends each marked connection all that it is due, in one write.
func (l *loop) flush() {
	t := &l.turn
	if len(t.marked) == 0 {
		if len(t.frames) > 0 {
			t.reset()
		}
		return
	}
	var sent tally
	for i := 0; i < len(t.marked); i++ {
		slot := t.marked[i]
		c := l.conns.at(slot)
		switch {
		case c.lag != nil:
			l.catchUp(slot, c, &sent)
		case c.head >= 0:
			l.deliver(slot, c, &sent)
			switch c.state {
			case ending:
				l.drop(slot, c, 0)
			case failed:
				c.sock.CloseWrite()
			}
		}
	}
	l.node.metrics.sent(&sent)
	now := time.Now().UnixNano()
	for _, took := range t.took {
		l.node.metrics.lag.Observe(float64(now-took) / 1e9)
	}
	t.reset()
}

// deliver writes a connection's chain.
func (l *loop) deliver(slot uint32, c *conn, sent *tally) {
	t := &l.turn
	head := c.head
	c.head, c.tail = -1, -1
	if d := t.dues[head]; d.next < 0 { // one frame goes out as it is, uncopied
		f := t.frames[d.frame]
		n, err := c.sock.Write(f.bytes(c.deflate))
		sent.count(1, n)
		if err != nil {
			l.unsent(slot, c, []*frame{f}, n, err)
		}
		return
	}
	b := t.bundle(head, c.deflate)
	n, err := 0, error(nil)
	if b.bytes != nil {
		n, err = c.sock.Write(b.bytes)
	} else {
		for _, i := range b.chain {
			var k int
			k, err = c.sock.Write(t.frames[i].bytes(c.deflate))
			n += k
			if err != nil {
				break
			}
		}
	}
	sent.count(len(b.chain), n)
	if err != nil {
		frames := make([]*frame, len(b.chain))
		for i, k := range b.chain {
			frames[i] = t.frames[k]
		}
		l.unsent(slot, c, frames, n, err)
	}
}

// bundle finds or makes the bytes of a chain. Most connections of a busy node are due the same as the one before.
func (t *turn) bundle(head int32, deflate bool) *bundle {
	hash := uint64(14695981039346656037) // FNV-1a, over frames instead of bytes
	if deflate {
		hash++
	}
	for d := head; d >= 0; d = t.dues[d].next {
		hash = (hash ^ uint64(t.dues[d].frame)) * 1099511628211
	}
	if i, ok := t.bundles[hash]; ok && t.built[i].deflate == deflate && t.same(&t.built[i], head) {
		return &t.built[i]
	}
	if len(t.built) == bundlesMax {
		clear(t.bundles)
		t.built = t.built[:0]
	}
	// Buffers of earlier turns lie behind the slice's end.
	var b bundle
	if n := len(t.built); n < cap(t.built) {
		b = t.built[:n+1][n]
	}
	chain, bytes := b.chain[:0], b.bytes[:0]
	size := 0
	for d := head; d >= 0; d = t.dues[d].next {
		i := t.dues[d].frame
		chain = append(chain, i)
		size += len(t.frames[i].bytes(deflate))
	}
	b = bundle{chain: chain, deflate: deflate}
	if size <= bundleMax {
		for _, i := range chain {
			bytes = append(bytes, t.frames[i].bytes(deflate)...)
		}
		b.bytes = bytes
	}
	t.built = append(t.built, b)
	t.bundles[hash] = len(t.built) - 1
	return &t.built[len(t.built)-1]
}

// same reports whether a bundle is that of a chain: the hash alone would one day send somebody another's messages.
func (t *turn) same(b *bundle, head int32) bool {
	d := head
	for _, i := range b.chain {
		if d < 0 || t.dues[d].frame != i {
			return false
		}
		d = t.dues[d].next
	}
	return d < 0
}

// unsent sees to what a write left: a socket that is full makes the connection lag, a broken one ends it.
func (l *loop) unsent(slot uint32, c *conn, frames []*frame, n int, err error) {
	if err != poll.ErrAgain {
		l.drop(slot, c, closedByPeer)
		return
	}
	if c.state >= closing { // the close frame may be lost: the client is too slow to see it
		l.drop(slot, c, 0)
		return
	}
	for len(frames) > 0 && n >= len(frames[0].bytes(c.deflate)) {
		n -= len(frames[0].bytes(c.deflate))
		frames = frames[1:]
	}
	l.fallBehind(slot, c)
	if n > 0 {
		c.lag.cut = frames[0].bytes(c.deflate)[n:]
		frames = frames[1:]
	}
	for _, f := range frames {
		l.putBack(c, f)
	}
	l.block(slot, c)
}
