//go:build linux

package chaos

import (
	"syscall"
	"testing"
	"time"
)

func TestEdge_KilledLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	killAnEdge(c)
	_, r := c.verdict(Rules{})
	c.within(r, 3*heartbeat)
	if r.Offline == 0 {
		t.Error("nobody noticed")
	}
}

func killAnEdge(c *cluster) {
	e := c.anEdge()
	e.kill()
	c.load.goOn(500)
	e.start()
	e.ready()
	c.load.goOn(500)
}

// An edge that is stopped and goes on answers nobody meanwhile, and has much to catch up with afterwards. Its clients go
// elsewhere when it has been silent for two heartbeats.
func TestEdge_PausedLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	pause := 13 * time.Second // longer than NATS waits for a client to take what it is sent
	if full() {
		pause = 30 * time.Second
	}
	e := c.anEdge()
	e.signal(syscall.SIGSTOP)
	c.load.goOnFor(pause)
	e.signal(syscall.SIGCONT)
	e.ready()
	c.load.goOn(500)
	_, r := c.verdict(Rules{})
	c.within(r, 4*heartbeat)
}

// Each edge is stopped, and started again when it has handed its clients over. Clients by edge/client have a connection
// all the time.
func TestEdges_RestartedInTurnLoseNothing(t *testing.T) {
	c := newCluster(t, plan{})
	for _, e := range c.edges {
		restartEdge(c, e)
	}
	h, r := c.verdict(Rules{})
	c.within(r, heartbeat)
	for _, e := range h.Events {
		if e.What == Disconnected && h.kind(e.Client) == Library {
			t.Errorf("%s was without a connection: %s", e.Client, e.Text)
		}
	}
}

func restartEdge(c *cluster, e *edge) {
	e.stop()
	c.load.goOn(50)
	e.start()
	e.ready()
	c.load.goOn(200)
}
