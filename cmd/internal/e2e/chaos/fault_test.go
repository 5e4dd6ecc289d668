//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fault is something that is broken for a time. Times count from when faults begin.
type fault struct {
	kind     *faultKind
	target   int // which one of its part, from 0
	from, to time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("%5.1f s to %5.1f s: %s", f.from.Seconds(), f.to.Seconds(), f.what())
}

func (f fault) what() string { return strings.ReplaceAll(f.kind.name, "#", strconv.Itoa(f.target+1)) }

// part is those of the cluster that stand in for each other.
type part struct {
	of     int                            // so many there are
	atOnce int                            // so many may be broken while the others carry on
	rest   time.Duration                  // that one which is mended has until the next one is broken
	whole  func(c *cluster, broken []int) // waits until all but these are as they should be
}

var (
	edgePart   = &part{of: 3, atOnce: 2, rest: 4 * time.Second, whole: edgesWhole}
	serverPart = &part{of: 3, atOnce: 1, rest: 8 * time.Second, whole: serversWhole} // three replicas need two
	hostPart   = &part{of: 2, atOnce: 2, rest: time.Second, whole: func(*cluster, []int) {}}
	linePart   = &part{of: 6, atOnce: 2, rest: time.Second, whole: func(*cluster, []int) {}} // those of the servers and the edges
)

// edgesWhole waits until the edges that are not broken are ready.
func edgesWhole(c *cluster, broken []int) {
	c.t.Helper()
	for i, e := range c.edges {
		if !slices.Contains(broken, i) {
			e.ready()
		}
	}
}

// serversWhole waits until all servers are in step: only one is broken at a time.
func serversWhole(c *cluster, _ []int) {
	c.t.Helper()
	for _, s := range c.nats {
		s.healthy()
	}
	c.leader()
}

// faultKind is a way to break something, for a time between least and most.
type faultKind struct {
	name        string // # is its target
	part        *part
	least, most time.Duration
	strike      func(c *cluster, target int) (mend func())
}

var faultKinds = []*faultKind{
	{"edge # is killed", edgePart, 3 * time.Second, 8 * time.Second, killEdge},
	{"edge # is paused", edgePart, 5 * time.Second, 16 * time.Second, pauseEdge},
	{"edge # is restarted", edgePart, 8 * time.Second, 16 * time.Second, rollEdge},
	{"the stream's leader is killed", serverPart, 3 * time.Second, 8 * time.Second, killLeader},
	{"server # is cut off", serverPart, 12 * time.Second, 22 * time.Second, cutServer},
	{"server # loses its route to the next one", serverPart, 12 * time.Second, 22 * time.Second, cutRoute},
	{"publisher # is killed", hostPart, 2 * time.Second, 10 * time.Second, killPublisher},
	{"line # loses packets", linePart, 8 * time.Second, 20 * time.Second, losePackets},
}

func killEdge(c *cluster, target int) func() {
	e := c.edges[target]
	e.kill()
	return e.start
}

func pauseEdge(c *cluster, target int) func() {
	e := c.edges[target]
	e.signal(syscall.SIGSTOP)
	return func() { e.signal(syscall.SIGCONT) }
}

// rollEdge stops an edge as a rollout does; it is started again when its clients have left.
func rollEdge(c *cluster, target int) func() {
	e := c.edges[target]
	e.signal(syscall.SIGTERM)
	return func() {
		e.exit()
		e.start()
	}
}

func killLeader(c *cluster, _ int) func() {
	s := c.leader()
	c.t.Logf("the leader is %s", s.node.name)
	s.kill()
	return s.start
}

func cutServer(c *cluster, target int) func() {
	s := c.nats[target]
	s.node.unplug()
	return s.node.plug
}

func cutRoute(c *cluster, target int) func() {
	return c.nats[target].node.sever(c.nats[(target+1)%len(c.nats)].node)
}

func killPublisher(c *cluster, target int) func() {
	p := c.publishers[target]
	p.kill()
	return p.start
}

func losePackets(c *cluster, target int) func() {
	if target < len(c.nats) {
		return c.nats[target].node.lose()
	}
	return c.edges[target-len(c.nats)].node.lose()
}
