package edge_test

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"tidings/edge/wire"
)

// Near the limit of its memory an edge takes in nobody more, and serves those who are there.
func TestMemoryNearlyUsedUp_RefusesNewClientsAlone(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	inside := n.dial()
	inside.subscribe("orders.*")
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before := debug.SetMemoryLimit(int64(stats.Sys - stats.HeapSys + stats.HeapAlloc)) // about what there is
	defer debug.SetMemoryLimit(before)

	eventually(t, "the edge says so", func() bool { return strings.Contains(strings.Join(n.Ready(), " "), "memory") })
	r := n.ask(t, handshake)
	refused(t, r, 503, wire.Unavailable)
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	refused(t, n.ask(t, "GET /last?topic=orders.a HTTP/1.1\r\nHost: localhost\r\n\r\n"), 503, wire.Unavailable)
	if got := n.value("tidings_edge_handshakes_total", "result", "memory"); got != 2 {
		t.Errorf("%v were counted", got)
	}
	inside.data(at("orders.a", c.publish("orders.a", `1`)))
	inside.subscribe("metrics.*")

	debug.SetMemoryLimit(before)
	eventually(t, "there is room again", func() bool { return len(n.Ready()) == 0 })
	n.dial().subscribe("orders.*")
}
