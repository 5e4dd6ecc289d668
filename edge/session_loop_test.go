package edge

import (
	"testing"
	"time"

	"tidings/edge/auth"
)

// A clock that is set while a timer runs moves exp nearer, by hours if need be. Looking at it now and then, by the wall clock,
// finds out.
func TestSession_IsLookedAtByTheWallClock(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	c.session = &session{Session: endsAt(l.now.Add(time.Hour))}
	l.plan(0, c)
	var look []timer
	l.timers.advance(l.now.Add(lookEvery+tick), func(t timer) { look = append(look, t) })
	if len(look) != 1 || look[0].kind != sessionTimer {
		t.Fatalf("within %v there are the timers %v", lookEvery, look)
	}
	l.now = l.now.Add(lookEvery + tick)
	l.fire(look[0])
	if c.state != serving {
		t.Fatal("it was closed before its time")
	}
	l.now = l.now.Round(0).Add(2 * time.Hour) // what the wall clock says from here on
	l.fire(look[0])
	if c.state != closing {
		t.Error("it goes on after its time")
	}
}

// Refreshes, however many, leave no more timers behind than there are times to look.
func TestSession_RefreshesDoNotAddTimersUp(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	c.session = &session{}
	before := l.timers.pending
	for i := range 1000 {
		c.session.Session = endsAt(l.now.Add(time.Hour + time.Duration(i%7)*time.Minute))
		l.plan(0, c)
	}
	if more := l.timers.pending - before; more != 1 {
		t.Errorf("%d timers are set", more)
	}
}

// What an edge knows of a client it knows of all of them, where it asks nobody who they are.
func TestOpenEdge_SharesOneSession(t *testing.T) {
	s := set(t)
	const ask = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for range 2 {
		v := s.visitor(greeting)
		before := s.loop.timers.pending
		s.loop.received(v.slot, v.conn, []byte(ask))
		if v.conn.state != serving || v.conn.session != s.loop.node.anyone {
			t.Errorf("it is in state %d, with a session %v", v.conn.state, v.conn.session)
		}
		if more := s.loop.timers.pending - before; more != 1 {
			t.Errorf("%d timers were set, where the heartbeat's is needed", more)
		}
	}
}

func endsAt(at time.Time) *auth.Session { return &auth.Session{Expires: at, Ends: at} }
