package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// acceptBatch is how many connections are taken from the listener at a time.
const acceptBatch = 64

// accept deals new connections to the loops in turn until the listener is closed.
func (e *Edge) accept() error {
	batch := make([]poll.Accepted, acceptBatch)
	next := 0
	var complained time.Time
	for {
		n, err := e.listener.Accept(batch)
		switch {
		case errors.Is(err, poll.ErrNoDescriptors):
			e.metrics.handshakes[handshakeFull].Inc()
			if time.Since(complained) > time.Minute {
				complained = time.Now()
				e.log.Warn("clients are turned away: no file descriptors are left, here or in the whole system; raise the limit (ulimit -n)")
			}
			time.Sleep(10 * time.Millisecond) // some may be freed; the queue keeps the others
			continue
		case err != nil && errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		shares := make([][]poll.Accepted, len(e.loops))
		now := time.Now()
		for _, a := range batch[:n] {
			if r := e.enter(a.Peer(), now); r != nil {
				e.turnAway(a, r, e.loops[next])
				continue
			}
			shares[next] = append(shares[next], a)
			next = (next + 1) % len(e.loops)
		}
		for i, share := range shares {
			if len(share) > 0 {
				e.loops[i].post(func(l *loop) { l.accept(share) })
			}
		}
	}
}

// turnAwayMax is how many clients may be on their way to a refusal at once. Their descriptors are of the reserve.
const turnAwayMax = 48

// turnAway has a loop answer a client once it has asked: an answer before that is none to HTTP, and Retry-After would be lost.
// Where very many have to be turned away, they are at once.
func (e *Edge) turnAway(a poll.Accepted, r *refusal, l *loop) {
	if e.turning.Add(1) > turnAwayMax {
		e.turning.Add(-1)
		e.metrics.handshakes[r.result].Inc()
		e.listener.Refuse(a, r.response())
		return
	}
	l.post(func(l *loop) { l.turnAway(a, r) })
}

// enter counts a connection in, unless there is no place for it; left counts it out.
func (e *Edge) enter(peer netip.Addr, now time.Time) *refusal {
	if r := e.door.knock(peer, now); r != nil {
		return r
	}
	if r := e.hold(); r != nil {
		e.door.leave(peer)
		return r
	}
	return nil
}

// hold counts one more connection, of whomever.
func (e *Edge) hold() *refusal {
	tight := e.room.tight.Load()
	if e.connections.Add(1) <= e.room.places && !tight {
		return nil
	}
	e.connections.Add(-1)
	if tight {
		return &refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, result: handshakeMemory, headers: retryAfter(placeWait),
			message: "this node has no memory for more clients; try again in a moment or elsewhere"}
	}
	e.metrics.limited[limitConnections].Inc()
	return &refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, result: handshakeFull, headers: retryAfter(placeWait),
		message: "this node is full; try again in a moment or elsewhere"}
}

// left counts a connection out.
func (e *Edge) left(client netip.Addr) {
	e.connections.Add(-1)
	e.door.leave(client)
}
