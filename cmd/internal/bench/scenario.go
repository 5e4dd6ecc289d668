package bench

import (
	"fmt"
	"strings"
	"time"
)

// wideRate is below five a second for a reason: a connection that was silent for longer than TCP's least time-out for a retransmission,
// 200 ms on Linux, gets each message acknowledged by the kernel at once, on loopback within the send itself and at its cost. So loads
// at four and at ten messages a second differ, whatever their clients, and those at five are neither.
const wideRate = 4

// heartbeat is the period of an edge's heartbeats, if nobody set another. What an idle connection costs is measured for whole ones: then
// each client had as many.
const heartbeat = 25 * time.Second

// Standing are the loads that have a name, so that two people who compare figures have measured the same.
var Standing = []Standard{
	{
		What:     "many clients of one slow topic: each message is a write for each client, and there is nothing to batch",
		Scenario: Scenario{Name: "unbatched", Clients: 1000, Rate: 10, Duration: 10 * time.Second, Warmup: 2 * time.Second},
	},
	{
		What:     "many clients of one busy topic: 300,000 deliveries a second",
		Scenario: Scenario{Name: "busy", Clients: 1000, Rate: 300, Duration: 10 * time.Second, Warmup: 2 * time.Second},
	},
	{
		What: "dashboards: 200 clients of 50 topics that are all published ten times a second",
		Scenario: Scenario{Name: "dashboards", Clients: 200, Topics: 50, Subscriptions: 50, Rate: 500, Burst: 50,
			Duration: 10 * time.Second, Warmup: 2 * time.Second},
	},
	{
		What:     "10,000 clients with five subscriptions each and nothing to tell them: connecting, memory, heartbeats",
		Scenario: Scenario{Name: "idle", Clients: 10_000, Topics: 100, Subscriptions: 5, Duration: 2 * heartbeat},
	},
	{
		What:     "19,000 clients with five subscriptions each: as many as fit into 20,000 descriptors",
		Scenario: Scenario{Name: "idle-wide", Clients: 19_000, Topics: 100, Subscriptions: 5, Duration: 2 * heartbeat},
	},
	{
		What:     "clients that arrive at 1,000 a second",
		Scenario: Scenario{Name: "arrivals", Clients: 10_000, Topics: 100, Subscriptions: 5, ConnectRate: 1000, Duration: time.Second},
		Extra:    true,
	},
	{
		What:     "1,000 clients of a topic of four messages a second: what `wide` is held against",
		Scenario: Scenario{Name: "narrow", Clients: 1000, Rate: wideRate, Duration: 10 * time.Second, Warmup: 2 * time.Second},
	},
	{
		What:     "19,000 clients of such a topic: whether a delivery costs more where there are more clients",
		Scenario: Scenario{Name: "wide", Clients: 19_000, Rate: wideRate, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "narrow",
	},
	{
		What:     "100,000 deliveries a second: what the loads below are held against",
		Scenario: Scenario{Name: "steady", Clients: 1000, Rate: 100, Duration: 10 * time.Second, Warmup: 2 * time.Second},
	},
	{
		What:     "messages of 64 bytes",
		Scenario: Scenario{Name: "small", Clients: 1000, Rate: 100, Size: 64, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "messages of 4 KiB",
		Scenario: Scenario{Name: "medium", Clients: 1000, Rate: 100, Size: 4 << 10, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "messages of 64 KiB, to fewer clients and not as often",
		Scenario: Scenario{Name: "large", Clients: 100, Rate: 20, Size: 64 << 10, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "permessage-deflate",
		Scenario: Scenario{Name: "deflate", Clients: 1000, Rate: 100, Deflate: true, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "one client in a hundred does not read at all: what that does to the others",
		Scenario: Scenario{Name: "few-slow", Clients: 1000, Rate: 100, Slow: 0.01, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "one client in ten does not read at all",
		Scenario: Scenario{Name: "slow", Clients: 1000, Rate: 100, Slow: 0.1, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "one client in ten does not read, of a topic where only the newest counts",
		Scenario: Scenario{Name: "latest", Clients: 1000, Topic: "metrics", Rate: 100, Slow: 0.1, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "1,000 subscribes and unsubscribes a second beside it, each of a topic that nobody had",
		Scenario: Scenario{Name: "churn", Clients: 1000, Rate: 100, Churn: 1000, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "10,000 clients that all connect at once beside it",
		Scenario: Scenario{Name: "storm", Clients: 1000, Rate: 100, Storm: 10_000, Duration: 20 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What:     "two edges that share the clients",
		Scenario: Scenario{Name: "two-edges", Clients: 1000, Rate: 100, Edges: 2, Duration: 10 * time.Second, Warmup: 2 * time.Second},
		Against:  "steady",
	},
	{
		What: "10,000 topics with two clients each, each published every five seconds",
		Scenario: Scenario{Name: "many-topics", Clients: 1000, Topics: 10_000, Subscriptions: 20, Rate: 2000,
			Duration: 10 * time.Second, Warmup: 6 * time.Second},
		Against: "unbatched",
	},
}

// Standard is a load with a name.
type Standard struct {
	Scenario
	What    string
	Against string // name of the load of which it is a variation; empty: of none
	Extra   bool   // it is no row of the report
}

// Named finds a standing scenario.
func Named(name string) (Standard, error) {
	var names []string
	for _, s := range Standing {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Standard{}, fmt.Errorf("--name: there is no %q, but %s", name, strings.Join(names, ", "))
}

// String says in words what the load is.
func (s Scenario) String() string {
	s = Config{Scenario: s}.withDefaults().Scenario
	var b strings.Builder
	fmt.Fprintf(&b, "%s clients, ", thousands(s.Clients))
	if s.Slow > 0 {
		fmt.Fprintf(&b, "%s of which do not read, ", percent(s.Slow))
	}
	switch {
	case s.Topics == 1:
		b.WriteString("1 topic")
	case s.Subscriptions == s.Topics:
		fmt.Fprintf(&b, "%s topics, all of them each", thousands(s.Topics))
	default:
		fmt.Fprintf(&b, "%s topics, %s of them each", thousands(s.Topics), thousands(s.Subscriptions))
	}
	if s.Rate == 0 {
		b.WriteString(", no messages")
		return b.String()
	}
	fmt.Fprintf(&b, ", %s msg/s", thousands(int(s.Rate+0.5)))
	if s.Burst > 1 {
		fmt.Fprintf(&b, " in bursts of %s", thousands(s.Burst))
	}
	fmt.Fprintf(&b, ", %s bytes", thousands(s.Size))
	if s.Deflate {
		b.WriteString(" deflated")
	}
	if s.Edges > 1 {
		fmt.Fprintf(&b, ", %d edges", s.Edges)
	}
	if s.Storm > 0 {
		fmt.Fprintf(&b, "; %s more connect at once", thousands(s.Storm))
	}
	if s.Churn > 0 {
		fmt.Fprintf(&b, "; %s subscribes and unsubscribes a second", thousands(int(s.Churn+0.5)))
	}
	return b.String()
}
