package edge

import (
	"time"

	"tidings/edge/wire"
)

// heartbeat sends a ping and a heartbeat, or gives up a client that answers none.
func (l *loop) heartbeat(slot uint32, c *conn) {
	if c.state != serving {
		return
	}
	if c.pending != nil {
		c.unanswered = 0 // its pongs wait behind the request
	}
	if c.unanswered >= 2 {
		l.shut(slot, c, wire.CloseNoPong, "no answer to two pings")
		return
	}
	l.beat(slot, c, l.node.cfg.Heartbeat/2) // sooner only where this one comes late
	if c.lag != nil {
		return // its socket takes nothing, which slow_timeout watches
	}
	c.unanswered++
	l.owe(slot, c, l.turn.heartbeat(l.now))
}

// beat sets the timer of a connection's next heartbeat, more than so long from now. Neighbours in the slab have theirs together: they
// were neighbours when they came, too, and what a send to one of them brings into the cache, the kernel's tables and ours, serves the
// next. The times of these crowds are spread over the period by the golden ratio, so that however many there are, none are close
// together. All loops have the same times, so that the machine wakes up once for them.
func (l *loop) beat(slot uint32, c *conn, in time.Duration) {
	period := l.node.cfg.Heartbeat
	const golden = 2654435769 // of 1<<32
	phase := time.Duration(float64(slot/crowd*golden) / (1 << 32) * float64(period))
	earliest := l.now.Sub(l.timers.start) + in
	next := earliest.Truncate(period) + phase
	if next <= earliest {
		next += period
	}
	l.timers.add(l.timers.start.Add(next), timer{slot: slot, gen: c.gen, kind: heartbeatTimer})
}

// crowd is how many neighbours have their heartbeats together. Sending those takes some two milliseconds, which is as long as a message
// may have to wait for it.
const crowd = 256

// rest has the sockets left alone for a moment by a turn that sent heartbeats, or heard nothing but pongs from so many of them: more
// pongs are on their way, and nobody waits for them to be looked at. What else a client says meanwhile waits as long.
func (l *loop) rest(heard int) error {
	pongs := l.pongs
	l.pongs = 0
	if l.turn.beat == nil && (heard == 0 || pongs < heard) {
		return nil
	}
	return l.poller.Rest(l.now.Add(restTime))
}

const restTime = 2 * time.Millisecond
