package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
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
	const each = 400 * time.Millisecond // what a client is given after it was asked, which is within the window
	n := c.edge(func(cfg *edge.Config) {
		cfg.Loops, cfg.DrainWindow, cfg.DrainGrace = 1, 300*time.Millisecond, 300*time.Millisecond+each
	})
	client := n.dial()
	client.subscribe("orders.*")
	start := time.Now()
	n.end()
	client.expect(`{"type":"going_away","timestamp":T,"payload":{"reason":"draining","reconnect_ms":[0,200],"deadline_ms":400}}`)
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
	if took := time.Since(start); took < each || took > each+3*time.Second {
		t.Errorf("closed after %v", took)
	}
	n.stop()
	if n.err != nil {
		t.Errorf("Run: %v", n.err)
	}
}

// Load balancers ask every few seconds whether an edge is ready. Until they have heard that it is not, it takes in whom they send.
func TestDrain_WaitsForLoadBalancersFirst(t *testing.T) {
	c := newCluster(t)
	const wait = 700 * time.Millisecond
	n := c.edge(func(cfg *edge.Config) { cfg.DrainWait, cfg.DrainGrace = wait, time.Minute })
	before := n.dial()
	before.subscribe("orders.*")
	start := time.Now()
	n.end()
	eventually(t, "it says that it is not ready", func() bool { return len(n.Ready()) > 0 })
	late := n.dial()
	late.subscribe("orders.*")
	last := at("orders.a", c.publish("orders.a", `1`))
	late.data(last)
	page, err := http.Get("http://" + n.host + "/x")
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	if page.StatusCode != http.StatusNotFound || !page.Close {
		t.Errorf("a page was answered with %s, and its connection is kept: %v", page.Status, !page.Close)
	}
	before.data(last)
	for _, client := range both(before, late) {
		if m := client.next(); m.Type != "going_away" {
			t.Fatalf("got %s", m.text)
		}
		client.conn.CloseNow()
	}
	if took := time.Since(start); took < wait {
		t.Errorf("asked to leave after %v", took)
	}
	n.stop()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v to stop although all had left", took)
	}
}

// Clients are asked one after the other, so that they arrive elsewhere spread out; each has the same time, so that who stays is
// closed at a deadline of its own.
func TestDrain_AsksOneByOne(t *testing.T) {
	c := newCluster(t)
	const window, each = 1200 * time.Millisecond, 400 * time.Millisecond
	n := c.edge(func(cfg *edge.Config) { cfg.Loops, cfg.DrainWindow, cfg.DrainGrace = 2, window, window+each })
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = n.dial()
	}
	n.end()
	var asked, closed []time.Time
	for _, client := range clients {
		m := client.next()
		if p := payload[wire.GoingAwayPayload](t, m); m.Type != "going_away" || p.DeadlineMS != each.Milliseconds() {
			t.Fatalf("got %s", m.text)
		}
		asked = append(asked, time.UnixMilli(m.Timestamp))
	}
	for i, client := range clients {
		client.closed(wire.CloseDraining)
		closed = append(closed, client.ended)
		if given := client.ended.Sub(asked[i]); given < each {
			t.Errorf("client %d was asked to leave and closed after %v", i, given)
		}
	}
	for what, times := range map[string][]time.Time{"asked": asked, "closed": closed} {
		slices.SortFunc(times, time.Time.Compare)
		first, last := times[0], times[len(times)-1]
		early := slices.IndexFunc(times, func(at time.Time) bool { return at.Sub(first) > last.Sub(first)/2 })
		if last.Sub(first) < window/2 || early < len(clients)/4 || early > len(clients)*3/4 {
			t.Errorf("all %d were %s within %v, %d of them in the first half of it", len(clients), what, last.Sub(first), early)
		}
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
	fmt.Fprint(conn, "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
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
	n := c.edge()
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
	fmt.Fprint(page, "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(page); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
		t.Errorf("got %q, %v", answer, err)
	}
}
