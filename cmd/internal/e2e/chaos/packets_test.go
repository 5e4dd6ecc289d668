//go:build linux

package chaos

import (
	"fmt"
	"testing"
	"time"
)

// Of the packets of every edge, and of one NATS server, one in twenty is lost. (This is what TCP is for; it makes everything late.)
func TestPackets_LostLoseNothing(t *testing.T) {
	c := newCluster(t, plan{})
	mend := []func(){c.nats[0].node.lose()}
	for _, e := range c.edges {
		mend = append(mend, e.node.lose())
	}
	c.load.goOn(1000)
	for _, mended := range mend {
		mended()
	}
	c.load.goOn(200)
	_, r := c.verdict(Rules{})
	c.within(r, 20*time.Second)
}

// The line of an edge carries less than its clients are due. Values of latest topics may be skipped, and all else is late.
func TestPackets_NarrowLineLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	e := c.anEdge()
	const rate = 200 // kbit/s, of which this load wants more
	e.node.do(fmt.Sprintf("tc qdisc add dev eth0 root tbf rate %dkbit burst 8kb latency 200ms", rate))
	c.load.goOnFor(15 * time.Second)
	e.node.do("tc qdisc del dev eth0 root")
	c.load.goOn(200)
	_, r := c.verdict(Rules{})
	c.within(r, 30*time.Second)
}
