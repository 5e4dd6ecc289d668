package edge

import (
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// request handles one request of a client.
func (l *loop) request(slot uint32, c *conn, text []byte) {
	r, err := wire.ParseRequest(text)
	if l.over(slot, c, limitMessages, 1, r.ID) {
		return
	}
	if err != nil {
		l.bad(slot, c, r.ID, err)
		return
	}
	switch r.Type {
	case wire.Subscribe:
		l.subscribe(slot, c, r)
	case wire.Unsubscribe:
		l.unsubscribe(slot, c, r)
	case wire.ClientHeartbeat:
		l.ack(slot, c, r.ID, nil)
	case wire.DoAction:
		l.act(slot, c, r)
	case wire.Refresh:
		if !l.over(slot, c, limitRefreshes, 1, r.ID) {
			l.refresh(slot, c, r)
		}
	}
}

// faultWindow is the time within which bad requests add up.
const faultWindow = time.Minute

// bad answers a request that is wrong, and closes the connection that sends too many of them.
func (l *loop) bad(slot uint32, c *conn, id uint64, e *wire.Error) {
	if c.faults == nil || l.now.Sub(c.faults.since) > faultWindow {
		c.faults = &faults{since: l.now}
	}
	c.faults.n++
	l.fail(slot, c, id, e)
	if c.faults.n >= l.node.cfg.Limits.BadRequests {
		l.node.metrics.limited[limitBadRequests].Inc()
		l.shut(slot, c, wire.CloseTooManyBad, "too many bad requests")
	}
}

func (l *loop) ack(slot uint32, c *conn, id uint64, topics []wire.AckTopic) {
	l.tell(slot, c, wire.AppendAck(l.text[:0], id, l.now.UnixMilli(), topics))
}

// patterns reads the patterns of a request; the first one that is wrong is named.
func patterns(wants []wire.Want) ([]bus.Pattern, *wire.Error) {
	list := make([]bus.Pattern, len(wants))
	for i, w := range wants {
		p, err := bus.ParsePattern(w.Topic)
		if err != nil {
			return nil, &wire.Error{Code: wire.BadRequest, Message: fmt.Sprintf("topics[%d]: %v", i, err)}
		}
		list[i] = p
	}
	return list, nil
}

// unsubscribe ends subscriptions. One that is not held is no error: it is over either way.
func (l *loop) unsubscribe(slot uint32, c *conn, r wire.Request) {
	list, err := patterns(r.Topics)
	if err != nil {
		l.bad(slot, c, r.ID, err)
		return
	}
	for _, p := range list {
		if i := c.holds(p); i >= 0 {
			l.leave(c, i)
		}
	}
	l.repace(slot, c)
	l.ack(slot, c, r.ID, nil)
}

// matches reports whether some subscription of a connection matches a topic.
func (c *conn) matches(t bus.Topic) bool {
	return slices.ContainsFunc(c.subs, func(s sub) bool { return s.feed.pattern.Matches(t) })
}

// holds is the index of a connection's subscription to exactly this pattern, or -1.
func (c *conn) holds(p bus.Pattern) int {
	for i := range c.subs {
		if c.subs[i].feed.pattern == p {
			return i
		}
	}
	return -1
}
