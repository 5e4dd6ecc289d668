//go:build linux

package chaos

import (
	"testing"
	"time"
)

func TestNATS_LeaderKilledLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	s := c.leader()
	s.kill()
	c.load.goOn(500)
	s.start()
	s.healthy()
	c.load.goOn(500)
	_, r := c.verdict(Rules{})
	c.within(r, 30*time.Second)
}

// A server whose cable is pulled leads the stream, and serves edges that do not know yet. The others choose another leader.
func TestNATS_PartitionedLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	s := c.leader()
	s.node.unplug()
	c.load.goOnFor(25 * time.Second) // a line that is silent for two pings, of 10 s, is dead
	s.node.plug()
	s.healthy()
	c.load.goOn(500)
	_, r := c.verdict(Rules{})
	c.within(r, 60*time.Second)
}

// A server that reaches its clients, but none of its own kind, looks well to the edges that it serves.
func TestNATS_RoutesDroppedLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	s := c.leader()
	var mend []func()
	for _, other := range c.nats {
		if other != s {
			mend = append(mend, s.node.sever(other.node))
		}
	}
	c.load.goOnFor(20 * time.Second)
	for _, mended := range mend {
		mended()
	}
	s.healthy()
	c.load.goOn(500)
	_, r := c.verdict(Rules{})
	c.within(r, 60*time.Second)
}

func TestNATS_RestartedInTurnLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	for _, s := range c.nats {
		s.stop()
		c.load.goOn(100)
		s.start()
		s.healthy()
		c.leader()
		c.load.goOn(200)
	}
	_, r := c.verdict(Rules{})
	c.within(r, 30*time.Second)
}
