package edge

import (
	"time"

	"tidings/edge/wire"
)

// stayOpen goes on serving, and taking in who comes, while the edge says that it is not ready: load balancers take some seconds
// to notice, and would send clients to a closed door. It ends early with the error of a part that failed.
func (e *Edge) stayOpen(failed <-chan error) error {
	e.stopping.Store(true)
	e.web.hangUp()
	if e.cfg.DrainWait <= 0 {
		return nil
	}
	e.log.Info("not ready any more, waiting for load balancers to notice", "for", e.cfg.DrainWait, "connections", e.connections.Load())
	wait := time.NewTimer(e.cfg.DrainWait)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case err := <-failed:
		return err
	}
}

// drain asks the clients to connect elsewhere and waits until they have, or the grace is over.
func (e *Edge) drain() {
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

// parting splits the grace of a draining edge: over the window its clients are asked to leave, one after the other, and each then
// has the same time to do so. So they arrive elsewhere spread out, and so are those closed that stayed.
func (c *Config) parting() (window, each time.Duration) {
	window = min(c.DrainWindow, c.DrainGrace*3/4)
	return window, c.DrainGrace - window
}

// drain sets the time at which each client is asked to leave, and turns away those that come.
func (l *loop) drain() {
	l.draining, l.graceEnds = true, l.now.Add(l.node.cfg.DrainGrace)
	window, _ := l.node.cfg.parting()
	step := window.Seconds() / float64(max(1, l.conns.open)) // between two of this loop
	turn := float64(l.index) / float64(len(l.node.loops))    // loops don't ask at the same moments
	l.conns.each(func(slot uint32, c *conn) {
		switch c.state {
		case serving:
			in := time.Duration(step * turn * float64(time.Second))
			l.timers.add(l.now.Add(in), timer{slot: slot, gen: c.gen, kind: leaveTimer})
			turn++
		case greeting:
			if c.input == nil && c.pending == nil { // it has not asked for anything yet
				l.drop(slot, c, 0)
			}
		}
	})
}

// askToLeave tells a client that its time has come: the edge is being stopped, or its connection has grown old and nodes that
// joined later are to fill up. Until its deadline it is served as before.
func (l *loop) askToLeave(slot uint32, c *conn) {
	if c.state != serving || c.leaving {
		return
	}
	cfg := &l.node.cfg
	reason, reconnect, deadline := "rebalancing", min(cfg.DrainWindow, cfg.DrainGrace), cfg.DrainGrace
	if l.draining {
		reason = "draining"
		_, deadline = cfg.parting()
		reconnect = deadline / 2
	}
	c.leaving = true
	l.tell(slot, c, wire.AppendGoingAway(l.text[:0], l.now.UnixMilli(), reason, 0, reconnect.Milliseconds(), deadline.Milliseconds()))
	l.timers.add(l.now.Add(deadline), timer{slot: slot, gen: c.gen, kind: deadlineTimer})
}

// checkLeft closes a client that stayed until its deadline. One that waits for actions may have their answers first, for as
// long as the edge itself may stay.
func (l *loop) checkLeft(slot uint32, c *conn) {
	if c.state == serving && c.session.acts.running > 0 && (!l.draining || l.now.Before(l.graceEnds)) {
		l.timers.add(l.now.Add(tick), timer{slot: slot, gen: c.gen, kind: deadlineTimer})
		return
	}
	if c.state == serving {
		l.shut(slot, c, wire.CloseDraining, "asked to leave")
	}
}
