//go:build linux

package chaos

import (
	"testing"
	"time"
)

// relayed is a plan in which the edges reach NATS through relays.
func relayed(relays *[]*relay) plan {
	return plan{proxied: func(c *cluster, servers []*natsServer) (urls []string) {
		for i, s := range servers {
			r := newRelay(c.t, s.node.address+":4222", c.seed+uint64(i))
			*relays = append(*relays, r)
			urls = append(urls, r.url())
		}
		return urls
	}}
}

// tampered counts what became of live messages.
func tampered(relays []*relay) (lost, doubled, delayed int64) {
	for _, r := range relays {
		lost += r.lost.Load()
		doubled += r.doubled.Load()
		delayed += r.delayed.Load()
	}
	return lost, doubled, delayed
}

// Single messages are lost, doubled and delayed between NATS and the edges: prev shows it, and the holes are filled.
func TestFrames_LostDoubledAndDelayedLoseNothing(t *testing.T) {
	var relays []*relay
	c := newCluster(t, relayed(&relays))
	tamperWithFrames(c, relays)
	_, r := c.verdict(Rules{})
	c.within(r, 10*time.Second)
	lost, doubled, delayed := tampered(relays)
	t.Logf("%d live messages were lost, %d came twice, %d late", lost, doubled, delayed)
	if lost == 0 || doubled == 0 || delayed == 0 {
		t.Error("nothing was tampered with")
	}
}

func tamperWithFrames(c *cluster, relays []*relay) {
	for _, r := range relays {
		r.tampering.Store(true)
	}
	c.load.goOn(1500)
	for _, r := range relays {
		r.drop() // and all lines with what was on them
	}
	c.load.goOn(1500)
	for _, r := range relays {
		r.tampering.Store(false)
	}
	c.load.goOn(100)
}

// The last messages of all topics are lost, and nothing follows that would betray it: they are found by asking the stream.
func TestFrames_LostLastMessageIsFoundWithin30s(t *testing.T) {
	var relays []*relay
	c := newCluster(t, relayed(&relays))
	c.load.goOn(100)
	for _, r := range relays {
		r.deaf.Store(true)
	}
	c.load.end()
	for _, topic := range counted {
		if err := c.load.publish(topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range relays {
		r.deaf.Store(false)
	}
	_, r := c.verdict(Rules{})
	if lost, _, _ := tampered(relays); lost == 0 {
		t.Error("nothing was lost")
	}
	if most := 32 * time.Second; r.Late > most || r.Late < time.Second {
		t.Errorf("found after %v, at most %v is promised", r.Late, most)
	}
}
