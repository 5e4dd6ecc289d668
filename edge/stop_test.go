package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"tidings/edge"
	"tidings/edge/wire"
)

func TestDrain_AsksAndThenCloses(t *testing.T) {
	c := newCluster(t)
	const grace = 700 * time.Millisecond
	n := c.edge(func(cfg *edge.Config) { cfg.Loops, cfg.DrainWindow, cfg.DrainGrace = 1, 300*time.Millisecond, grace })
	client := n.dial()
	client.subscribe("orders.*")
	start := time.Now()
	n.end()
	client.expect(`{"type":"going_away","timestamp":T,"payload":{"reason":"draining","reconnect_ms":[0,300],"deadline_ms":700}}`)
	if got := strings.Join(n.Ready(), " "); !strings.Contains(got, "draining") {
		t.Errorf("ready: %q", got)
	}
	// Until the deadline it goes on delivering, and takes requests; only who comes now is sent away.
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	client.subscribe("metrics.*")
	r := n.ask(t, handshake)
	refused(t, r, 503, wire.Unavailable)
	client.data(at("orders.a", c.publish("orders.a", `2`)))
	client.closed(wire.CloseDraining)
	if took := time.Since(start); took < grace || took > grace+3*time.Second {
		t.Errorf("closed after %v", took)
	}
	n.stop()
	if n.err != nil {
		t.Errorf("Run: %v", n.err)
	}
}

// A connection that has grown old is asked to move on, and goes on until it has.
func TestOldConnection_IsAskedToMoveOn(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) {
		cfg.MaxAge, cfg.DrainWindow, cfg.DrainGrace = time.Second, 100*time.Millisecond, 500*time.Millisecond
	})
	start := time.Now()
	client := n.dial()
	client.subscribe("orders.*")
	client.expect(`{"type":"going_away","timestamp":T,"payload":{"reason":"rebalancing","reconnect_ms":[0,100],"deadline_ms":500}}`)
	if age := time.Since(start); age < 900*time.Millisecond {
		t.Errorf("it was %v old", age)
	}
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	client.closed(wire.CloseDraining)
	n.dial() // the node itself goes on
}

func TestDrain_EndsWhenAllHaveLeft(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.DrainGrace = time.Minute })
	clients := []*client{n.dial(), n.dial(), n.dial()}
	n.end()
	start := time.Now()
	for _, client := range clients {
		if m := client.next(); m.Type != "going_away" {
			t.Fatalf("got %s", m.text)
		}
		client.conn.CloseNow()
	}
	n.stop()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// A browser keeps connections open that it may never use again.
func TestDrain_DoesNotWaitForIdlePages(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.DrainGrace = time.Minute })
	conn := n.tcp()
	fmt.Fprint(conn, "GET /x HTTP/1.1\r\nHost: tidings\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	silent := n.tcp()
	eventually(t, "both are there", func() bool { return n.value("tidings_edge_handshakes_total", "result", "http") == 1 })
	start := time.Now()
	n.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	_ = silent
}

func TestStoppedEdge_LeavesNothing(t *testing.T) {
	c := newCluster(t)
	line := c.nats.Connect(t)
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	e, err := edge.New(edge.Config{Listen: "127.0.0.1:0", Bus: line, Open: true, DrainGrace: 50 * time.Millisecond, HandshakeTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(e.Ready(), " "); !strings.Contains(got, "not running") {
		t.Errorf("ready: %q", got)
	}
	ran := make(chan error)
	go func() { ran <- e.Run(ctx) }()
	n := &node{Edge: e, t: t, cluster: c, host: e.Addr().String()}
	p := n.peer(0)
	p.subscribe(1, "orders.*")
	slow := n.peer(4096)
	slow.subscribe(1, ">")
	half := n.tcp() // in the middle of its request
	fmt.Fprint(half, handshake[:40])
	c.flood(16, 0, 30, "orders.a")
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	goleak.VerifyNone(t, before)
	if conn, err := (&http.Client{Timeout: time.Second}).Get("http://" + n.host); err == nil {
		conn.Body.Close()
		t.Error("somebody still listens")
	}
	if err := line.Ready(); err != nil {
		t.Errorf("the line to NATS is its owner's: %v", err)
	}
}

func TestNew_NamesAllFaults(t *testing.T) {
	_, err := edge.New(edge.Config{Listen: "nowhere", Heartbeat: time.Nanosecond, Loops: 1000, Origins: []string{"https://x"},
		Limits: edge.Limits{Subscriptions: -1}})
	for _, key := range []string{"Bus", "Verifier", "Listen", "Heartbeat", "Loops", "Origins", "Limits.Subscriptions"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
	c := newCluster(t)
	n := c.edge()
	if _, err := edge.New(edge.Config{Listen: n.host, Bus: c.bus, Open: true}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("an address that is taken: %v", err)
	}
}

func TestIdleConnections_NeedNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only where descriptors are watched directly")
	}
	c := newCluster(t)
	n := c.edge(beating(100 * time.Millisecond))
	first := n.peer(0) // whatever is started once is there after this one
	first.subscribe(1, "orders.*")
	before := runtime.NumGoroutine()
	const many = 200
	for range many {
		n.peer(0).subscribe(1, "orders.*")
	}
	c.publish("orders.a", `1`)
	for m := first.message(); m.Type != "orders"; m = first.message() {
	}
	if more := runtime.NumGoroutine() - before; more > many/10 {
		t.Errorf("%d connections brought %d goroutines", many, more)
	}
	if got := n.value("tidings_edge_connections"); got != many+1 {
		t.Errorf("%v connections are open", got)
	}
}

// A listener that is no plain TCP one, such as that of TLS, works the same.
func TestOtherListeners_AreServedToo(t *testing.T) {
	c := newCluster(t)
	l := listenTLS(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Listener = l })
	p := n.peerOn(dialTLS(t, n.host))
	p.send([]byte(handshake))
	p.switched()
	p.expectType("connected")
	p.subscribe(1, "orders.*")
	for i := range 50 {
		seq := c.publish("orders.b", fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", 5000)))
		if m := p.message(); m.Seq != seq {
			t.Fatalf("got %.100s", m.text)
		}
	}
	p.send(masked(true, ws.OpText, []byte("\xff")))
	p.closed(wire.CloseInvalidUTF8)
	// One that is slow, and pages.
	slow := n.peerOn(dialTLS(t, n.host))
	slow.send([]byte(handshake))
	slow.switched()
	slow.expectType("connected")
	slow.subscribe(1, "orders.*")
	c.flood(32, 0, 100, "orders.a")
	slow.takesAllOf(100, "orders.a")
	page := dialTLS(t, n.host)
	fmt.Fprint(page, "GET /x HTTP/1.1\r\nHost: tidings\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(page); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
		t.Errorf("got %q, %v", answer, err)
	}
}
