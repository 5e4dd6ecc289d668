package edge

import "time"

// abreast keeps the hub from running ahead of the loops. An inbox takes whatever comes, so that nobody waits for a loop; but a loop with
// thousands of connections may take a second for what the hub passes on in a tenth, and after a long outage there is much to pass on.
// So the hub sends a call through all inboxes now and then, and does not take more from NATS while too
// much lies behind one that not all loops have come to. What NATS brings meanwhile waits in the listener, and is read from the stream
// where that is full, or holds more bytes than there is room for. All else the hub goes on with.
//
// Loops never wait for the hub, so each call comes back, but for that of a loop that has ended: then the edge is being stopped, which ends
// the hub too.
type abreast struct {
	frames int // passed on since the last call
	bytes  int
	away   int       // loops that have not come to it
	since  time.Time // when the hub began to wait for them; zero: it does not
	asked  int       // parts of a repair that wait until the loops have taken the one before
	size   float64   // of a live message, in bytes, of those taken of late
}

// How much the hub passes on between two calls. Three times as much may be on its way: twice in the turns of loops, which take all that
// lies in their inboxes and come to the first call soon, and once in the inboxes meanwhile.
const (
	aheadFrames = 8 << 10
	aheadBytes  = 8 << 20
)

// listenBytes is how much may wait in the listener, which counts messages only, and listenEvery how often a hub that waits looks at it.
const (
	listenBytes = heldBytes
	listenEvery = 20 * time.Millisecond
)

// took is told the size of each live message.
func (a *abreast) took(size int) {
	if a.size == 0 {
		a.size = float64(size)
	}
	a.size += (float64(size) - a.size) / 32
}

// lookAtListener has what waits in the listener read from the stream, if it is too much: while that goes on the hub takes messages, and
// holds back what there is room for.
func (h *hub) lookAtListener() {
	if float64(len(h.listener.C()))*h.abreast.size > listenBytes {
		h.repair("more waits than there is room for, since the loops are behind", h.roots(), h.at)
	}
}

// left counts a frame that was left with loops.
func (h *hub) left(f *frame) {
	a := &h.abreast
	a.frames++
	a.bytes += len(f.wire)
	if !a.much() {
		return
	}
	switch {
	case a.away == 0:
		h.callRoll()
	case !h.ahead():
		a.since = time.Now()
		h.metrics.hubWaits.Inc()
	}
}

// much reports whether it is time for another call.
func (a *abreast) much() bool { return a.frames >= aheadFrames || a.bytes >= aheadBytes }

// ahead reports whether the hub has to wait for the loops.
func (h *hub) ahead() bool { return !h.abreast.since.IsZero() }

// whenTaken calls do when the loops have taken all that was passed on so far out of their inboxes; then the hub need not wait either.
func (h *hub) whenTaken(do func()) {
	away := len(h.loops)
	if away == 0 {
		do()
		return
	}
	h.abreast.asked++
	for _, l := range h.loops {
		l.post(func(*loop) {
			h.mail.put(func() {
				if away--; away == 0 {
					h.abreast.asked--
					do()
				}
			})
		})
	}
}

// callRoll sends a call through each inbox.
func (h *hub) callRoll() {
	a := &h.abreast
	a.frames, a.bytes, a.away = 0, 0, len(h.loops)
	for _, l := range h.loops {
		l.post(func(*loop) { h.mail.put(h.present) })
	}
}

// present is called for each loop that a call has come to.
func (h *hub) present() {
	a := &h.abreast
	if a.away--; a.away > 0 {
		return
	}
	if !h.ahead() {
		return
	}
	h.metrics.hubWait.Observe(time.Since(a.since).Seconds())
	a.since = time.Time{}
	h.callRoll()
}
