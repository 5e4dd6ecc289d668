package edge

// abreast keeps the hub from running ahead of the loops. An inbox takes whatever comes, so that nobody waits for a loop; but a loop with
// thousands of connections may take a second for what the hub passes on in a tenth, and after a long outage there is much to pass on.
// So the hub sends a call through all inboxes now and then, and does not take more from NATS while too much lies behind one that not
// all loops have come to. What NATS brings meanwhile waits in the listener, and is read from the stream where that is full.
type abreast struct {
	frames int // passed on since the last call
	bytes  int
	away   int      // loops that have not come to it
	then   []func() // to be done when they have
}

// How much the hub passes on between two calls. Twice as much may lie in the inboxes.
const (
	aheadFrames = 8 << 10
	aheadBytes  = 8 << 20
)

// left counts a frame that was left with loops.
func (h *hub) left(f *frame) {
	a := &h.abreast
	a.frames++
	a.bytes += len(f.wire)
	if a.much() && a.away == 0 {
		h.callRoll()
	}
}

// much reports whether it is time for another call.
func (a *abreast) much() bool { return a.frames >= aheadFrames || a.bytes >= aheadBytes }

// ahead reports whether the hub has to wait for the loops.
func (h *hub) ahead() bool { return h.abreast.much() && h.abreast.away > 0 }

// whenAbreast calls do when all loops have come to what was passed on so far.
func (h *hub) whenAbreast(do func()) {
	a := &h.abreast
	if a.away > 0 { // a call is on its way, before some of it
		a.then = append(a.then, func() { h.whenAbreast(do) })
		return
	}
	a.then = append(a.then, do)
	h.callRoll()
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
	then := a.then
	a.then = nil
	for _, do := range then {
		do()
	}
	if a.much() && a.away == 0 {
		h.callRoll()
	}
}
