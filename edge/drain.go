package edge

import (
	"time"

	"tidings/edge/wire"
)

// drain is a stopping edge's word to its clients.
type drain struct {
	deadline time.Time
}

// drain asks the clients to connect elsewhere and waits until they have, or the grace is over.
func (e *Edge) drain() {
	e.stopping.Store(true)
	e.log.Info("draining", "connections", e.connections.Load(), "grace", e.cfg.DrainGrace)
	for _, l := range e.loops {
		l.post(func(l *loop) { l.drain() })
	}
	const look = 20 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	end := time.After(e.cfg.DrainGrace + closeWait + 4*tick)
	for e.connections.Load() > 0 {
		select {
		case <-ticker.C:
		case <-end:
			e.log.Warn("closing connections that are left", "connections", e.connections.Load())
			return
		}
	}
}

// drain tells every client to leave, and those that come that they can't.
func (l *loop) drain() {
	cfg := &l.node.cfg
	l.draining = &drain{deadline: l.now.Add(cfg.DrainGrace)}
	window := min(cfg.DrainWindow, cfg.DrainGrace)
	f := newFrame(wire.AppendGoingAway(nil, l.now.UnixMilli(), "draining", 0, window.Milliseconds(), cfg.DrainGrace.Milliseconds()))
	l.conns.each(func(slot uint32, c *conn) {
		switch c.state {
		case serving:
			c.leaving = true
			l.owe(slot, c, f)
			l.timers.add(l.draining.deadline, timer{slot: slot, gen: c.gen, kind: leaveTimer})
		case greeting:
			if c.input == nil && c.pending == nil { // it has not asked for anything yet
				l.drop(slot, c, 0)
			}
		}
	})
}

// retire asks one client to leave because its connection has grown old, so that nodes that joined later fill up.
func (l *loop) retire(slot uint32, c *conn) {
	cfg := &l.node.cfg
	window := min(cfg.DrainWindow, cfg.DrainGrace)
	l.tell(slot, c, wire.AppendGoingAway(l.text[:0], l.now.UnixMilli(), "rebalancing", 0, window.Milliseconds(), cfg.DrainGrace.Milliseconds()))
	c.leaving = true
	l.timers.add(l.now.Add(cfg.DrainGrace), timer{slot: slot, gen: c.gen, kind: leaveTimer})
}

// checkLeave closes a client that stayed until its deadline, and asks one whose time has come to leave.
func (l *loop) checkLeave(slot uint32, c *conn) {
	switch {
	case c.state != serving:
	case l.draining != nil && l.now.Before(l.draining.deadline): // a timer of its age; its deadline is another one now
	case c.leaving:
		l.shut(slot, c, wire.CloseDraining, "asked to leave")
	default:
		l.retire(slot, c)
	}
}
