package edge

import (
	"errors"
	"time"

	"tidings/edge/auth"
	"tidings/edge/wire"
)

// refresh gives a connection what a newer token grants. Requests behind it wait until the token has been verified, so that they
// are judged by it. One that is no good takes nothing away: the connection keeps what it has until that ends; but who sends
// one that is not genuine is shown the door (4501).
func (l *loop) refresh(slot uint32, c *conn, r wire.Request) {
	if l.node.desk == nil {
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.Disabled, Message: "this edge takes no tokens: it is open to all who reach it"})
		return
	}
	p := &pending{conn: ref{slot, c.gen}, id: r.ID, since: l.now}
	c.pending = p
	l.verify(p, r.Token, func(l *loop, s *auth.Session, err error) {
		l.refreshed(slot, c, r, s, err)
		l.hear(slot, c)
	})
}

func (l *loop) refreshed(slot uint32, c *conn, r wire.Request, s *auth.Session, err error) {
	switch {
	case errors.Is(err, auth.ErrExpired):
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.TokenExpired, Message: "the token has expired; get a new one and refresh again"})
	case errors.Is(err, auth.ErrInvalid):
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.Unauthorized, Message: "the token is not valid here; get one that is meant for this service and connect again"})
		l.shut(slot, c, wire.CloseTokenInvalid, "the token is not valid")
	case err != nil:
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.Unavailable, RetryAfter: 5 * time.Second,
			Message: "this node can't verify tokens right now; refresh again in a moment"})
	case s.Subject != c.session.Subject: // what goes on here is accounted to one person
		l.fail(slot, c, r.ID, &wire.Error{Code: wire.Unauthorized, Message: "the token is another user's; connect anew with it"})
	default:
		c.session.Session = s
		if c.session.token != "" {
			c.session.token = r.Token
		}
		l.plan(slot, c)
		l.ack(slot, c, r.ID, nil)
		l.revoke(slot, c)
	}
}

// revoke ends the subscriptions of a connection that its grants no longer cover.
func (l *loop) revoke(slot uint32, c *conn) {
	for i := len(c.subs) - 1; i >= 0; i-- {
		p := c.subs[i].feed.pattern
		if c.session.MaySubscribe(p) {
			continue
		}
		l.leave(c, i)
		l.fail(slot, c, 0, &wire.Error{Code: wire.Forbidden, Topic: string(p),
			Message: string(p) + ": the refreshed token does not grant it any more; the subscription has ended"})
	}
	l.repace(slot, c)
}
