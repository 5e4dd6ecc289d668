//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tidings/bus/bustest"
)

// An edge that may open 200 files takes in as many clients as leave enough for all else: those who come then are refused, and
// nobody else feels it.
func TestEdge_WithFewDescriptorsRefusesNewClientsAlone(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	const places = 100 // half of them, where there are so few
	e := launchEdgeBy(t, server, command{files: 200})
	inside := gather(t, e.socket, places-1, func(int) []string { return []string{"demo.numbers"} }) // /metrics is asked by others
	last := dial(t, e.socket)
	last.subscribe("demo.numbers")
	for range 150 { // more than there are descriptors left
		status, body := get(t, "http"+strings.TrimPrefix(e.socket, "ws"))
		if status != 503 || !strings.Contains(body, `"unavailable"`) {
			t.Fatalf("who came when there was no place was answered %d %s", status, body)
		}
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		if status, body := get(t, e.admin+path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	// NATS has to be dialled again, which takes a descriptor.
	server.Restart()
	ready(t, e.admin)
	publish(t, line(t, server), "demo.numbers", `{"n":1,"m":0}`)
	last.await("demo.numbers", "number 1", atLeast(t, 1))
	last.close()
	eventually(t, "a place to be free again", patience, func() error {
		if status, body := get(t, "http"+strings.TrimPrefix(e.socket, "ws")); status != 426 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if got := metric(t, e.admin, "tidings_edge_connections"); got != float64(len(inside)) {
		t.Errorf("%v connections are open", got)
	}
}
