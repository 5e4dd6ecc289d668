package edge

import (
	"testing"
	"time"
)

// A connection is off the straight path of a delivery only for as long as some subscription asks for an interval.
func TestPace_EndsWithTheLastInterval(t *testing.T) {
	s := set(t)
	l := s.loop
	s.clients(1)
	c := l.conns.at(0)
	c.slowDown(s.feed, time.Second)
	l.repace(0, c)
	if !c.slow {
		t.Fatal("it does not pace")
	}
	l.leave(c, 0)
	l.repace(0, c)
	if c.slow || c.pace != nil {
		t.Error("it paces what it does not subscribe to any more")
	}
}
