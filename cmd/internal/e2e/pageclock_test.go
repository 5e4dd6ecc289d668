//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"tidings/edge/web"
)

// The page's client, between two edges that the test plays: messages taken before NATS' clock was set back are no news of a new stream.
func TestBrowser_ClockSetBackMakesNoDuplicateNew(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	mux := http.NewServeMux()
	mux.Handle("/tidings.js", web.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,">`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.call("Page.navigate", map[string]any{"url": server.URL}, nil)
	b.becomes("the blank page", `location.origin + document.readyState`, func(v string) bool { return v == server.URL+"complete" })
	b.evaluate(`
		lines = []; told = [];
		WebSocket = class { constructor() { lines.push(this); } send() {} close() {} };
		say = (line, m) => lines[line].onmessage({ data: JSON.stringify(m) });
		import("/tidings.js").then(({ follow }) => follow("ws://edge/ws", [{ topic: "orders.*" }],
			{ message: (m) => told.push(m.seq), gap() {}, state() {}, why: async () => "" }));`)
	opened := func(n string) {
		t.Helper()
		b.becomes("line "+n, `lines.length`, func(v string) bool { return v == n })
	}
	say := func(line int, message string) {
		t.Helper()
		if got := b.evaluate(fmt.Sprintf(`say(%d, %s)`, line, message)); got != "<nil>" {
			t.Fatalf("%s: %s", message, got)
		}
	}
	data := func(line, seq, prev, timestamp int) {
		t.Helper()
		say(line, fmt.Sprintf(`{type: "orders", topic: "orders.a", seq: %d, prev: %d, timestamp: %d, payload: {}}`, seq, prev, timestamp))
	}
	opened("1")
	say(0, `{type: "connected", payload: {node: "edge-0", heartbeat_ms: 25000}}`)
	say(0, `{type: "ack", id: 1, payload: {topics: [{topic: "orders.*", epoch: "e1", seq: 10}]}}`)
	say(0, `{type: "going_away", payload: {reason: "draining", reconnect_ms: [0, 0], deadline_ms: 20000}}`)
	opened("2")
	say(1, `{type: "connected", payload: {node: "edge-1", heartbeat_ms: 25000}}`)
	data(0, 11, 0, 5000)
	data(0, 12, 11, 100) // the clock was set back
	say(1, `{type: "ack", id: 1, payload: {topics: [{topic: "orders.*", epoch: "e1", seq: 12, recovered: true}]}}`)
	data(1, 11, 0, 5000)
	data(1, 12, 11, 100)
	data(1, 13, 12, 101)
	data(1, 2, 0, 9000) // of a stream that was made anew
	if got := b.evaluate(`told.join()`); got != "11,12,13,2" {
		t.Errorf("the page was told %s", got)
	}
}
