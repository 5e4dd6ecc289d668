package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/edge"
	"tidings/edge/wire"
)

// struck is how often a limit struck.
func (n *node) struck(limit string) float64 {
	n.t.Helper()
	return n.value("tidings_edge_limited_total", "limit", limit)
}

// expectStruck fails unless a limit struck so often, and no other did.
func (n *node) expectStruck(limit string, times float64) {
	n.t.Helper()
	if got, all := n.struck(limit), n.value("tidings_edge_limited_total"); got != times || all != times {
		n.t.Errorf("%s struck %v times, and all together %v; want %v", limit, got, all, times)
	}
}

// from is a request as a proxy on this machine would forward it for a client.
func from(client, request string) string {
	return strings.Replace(request, "\r\n\r\n", "\r\nX-Forwarded-For: "+client+"\r\n\r\n", 1)
}

// behindProxy has an edge trust proxies on this machine, so that a test can come from any address.
func behindProxy(cfg *edge.Config) { cfg.TrustedProxies = []string{"127.0.0.1"} }

// open sends an upgrade request and keeps the connection.
func (n *node) open(t *testing.T, request string) *http.Response {
	t.Helper()
	conn := n.tcp()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// retryAfter is the time that a refusal names.
func retryAfter(t *testing.T, r *http.Response) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil {
		t.Errorf("%s with Retry-After %q", r.Status, r.Header.Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

func TestLimit_ConnectionsPerAddress(t *testing.T) {
	n := newCluster(t).edge(behindProxy, func(cfg *edge.Config) { cfg.Limits.ConnectionsPerAddress = 2 })
	first := n.peerOn(n.tcp())
	first.send([]byte(from("198.51.100.1", handshake)))
	first.switched()
	if r := n.open(t, from("198.51.100.1", handshake)); r.StatusCode != 101 {
		t.Fatal(r.Status)
	}
	refused(t, n.open(t, from("198.51.100.1", handshake)), 429, wire.TooManyRequests)
	n.expectStruck("connections_per_address", 1)
	for _, other := range []string{"198.51.100.2", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"} {
		if r := n.open(t, from(other, handshake)); r.StatusCode != 101 {
			t.Errorf("%s: %s", other, r.Status)
		}
	}
	refused(t, n.open(t, from("2001:db8:0:1::3", handshake)), 429, wire.TooManyRequests) // of a /64 with two
	for range 5 {
		n.dial() // of this machine, without limit
	}
	first.conn.Close()
	eventually(t, "the place is free again", func() bool { return n.open(t, from("198.51.100.1", handshake)).StatusCode == 101 })
	if got := n.value("tidings_edge_handshakes_total", "result", "limited"); got != n.struck("connections_per_address") {
		t.Errorf("%v handshakes were limited", got)
	}
}

func TestLimit_ConnectionsPerAddress_HoldsForStreamsOfEvents(t *testing.T) {
	n := newCluster(t).edge(behindProxy, func(cfg *edge.Config) { cfg.Limits.ConnectionsPerAddress = 1 })
	events := "GET /events?topic=a.b HTTP/1.1\r\nHost: localhost\r\n\r\n"
	conn := n.tcp()
	fmt.Fprint(conn, from("198.51.100.1", events))
	if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	refused(t, n.open(t, from("198.51.100.1", events)), 429, wire.TooManyRequests)
	refused(t, n.open(t, from("198.51.100.1", handshake)), 429, wire.TooManyRequests)
	n.expectStruck("connections_per_address", 2)
	conn.Close()
	eventually(t, "the place is free again", func() bool { return n.open(t, from("198.51.100.1", handshake)).StatusCode == 101 })
}

func TestLimit_HandshakesPerSecond(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.HandshakesPerSecond = 3 })
	var r *http.Response
	untilRefused(t, 3, 3, func() bool {
		r = n.ask(t, handshake)
		return r.StatusCode == 101
	})
	refused(t, r, 503, wire.Unavailable)
	if got := retryAfter(t, r); got != time.Second {
		t.Errorf("to come again in %v", got)
	}
	n.expectStruck("handshakes_per_second", 1)
	eventually(t, "they come back", func() bool { return n.ask(t, handshake).StatusCode == 101 })
}

func TestLimit_HandshakesPerAddress(t *testing.T) {
	n := newCluster(t).edge(behindProxy, func(cfg *edge.Config) { cfg.Limits.HandshakesPerAddress = 1 })
	last := "GET /last?topic=a.b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	for i, request := range []string{handshake, last} {
		var r *http.Response
		asked := 0
		untilRefused(t, 1, 10*(1-i), func() bool {
			asked++
			r = n.ask(t, from("198.51.100.1", []string{request, last}[asked%2])) // both come from one bucket
			return r.StatusCode < 300
		})
		refused(t, r, 429, wire.TooManyRequests)
		if got := retryAfter(t, r); got != time.Second {
			t.Errorf("to come again in %v", got)
		}
		n.expectStruck("handshakes_per_address", float64(i+1))
	}
	if r := n.ask(t, from("198.51.100.2", handshake)); r.StatusCode != 101 {
		t.Errorf("another address: %s", r.Status)
	}
	eventually(t, "one more is let in", func() bool { return n.ask(t, from("198.51.100.1", handshake)).StatusCode == 101 })
}

// A page costs next to nothing, but over one connection there would be no end to them.
func TestLimit_HandshakesPerAddress_HoldsForPagesOverOneConnection(t *testing.T) {
	n := newCluster(t).edge(behindProxy, func(cfg *edge.Config) { cfg.Limits.HandshakesPerAddress = 1 })
	conn := n.tcp()
	answers := bufio.NewReader(conn)
	var r *http.Response
	untilRefused(t, 1, 9, func() bool { // the connection was one of ten
		fmt.Fprint(conn, from("198.51.100.1", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		var err error
		if r, err = http.ReadResponse(answers, nil); err != nil {
			t.Fatal(err)
		}
		if r.StatusCode == 429 {
			return false
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if !r.Close {
		t.Error("the connection is kept for more of them")
	}
	refused(t, r, 429, wire.TooManyRequests)
	n.expectStruck("handshakes_per_address", 1)
}

func TestLimit_EventStreams(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.EventStreams = 1 })
	events := "GET /events?topic=a.b HTTP/1.1\r\nHost: localhost\r\n\r\n"
	conn := n.tcp()
	fmt.Fprint(conn, events)
	if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	refused(t, n.open(t, events), 503, wire.Unavailable)
	n.expectStruck("event_streams", 1)
	conn.Close()
	eventually(t, "there is room again", func() bool { return n.open(t, events).StatusCode == 200 })
}

// Each of these is told once and counted once.
func TestLimit_OfTheHandshake(t *testing.T) {
	c := newCluster(t)
	for limit, request := range map[string]string{
		"header_bytes":      strings.Replace(handshake, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("x", 9000)+"\r\n\r\n", 1),
		"headers":           strings.Replace(handshake, "\r\n\r\n", strings.Repeat("\r\nA: b", 100)+"\r\n\r\n", 1),
		"handshake_timeout": "GET /ws",
	} {
		t.Run(limit, func(t *testing.T) {
			n := c.edge(func(cfg *edge.Config) { cfg.HandshakeTimeout = 200 * time.Millisecond })
			status := 431
			if limit == "handshake_timeout" {
				status = 408
			}
			refused(t, n.open(t, request), status, wire.BadRequest)
			n.expectStruck(limit, 1)
		})
	}
	t.Run("connections", func(t *testing.T) {
		n := c.edge(func(cfg *edge.Config) { cfg.Limits.Connections = 1 })
		n.dial()
		refused(t, n.ask(t, handshake), 503, wire.Unavailable)
		n.expectStruck("connections", 1)
	})
}

// untilRefused asks again and again until ask says no, and fails unless that is after a burst and what came back meanwhile, however
// slow the machine is.
func untilRefused(t *testing.T, perSecond, burst int, ask func() (ok bool)) {
	t.Helper()
	began := time.Now()
	n := 0
	for ask() {
		if n++; n > burst+1+int(time.Since(began).Seconds()*float64(perSecond)) {
			t.Fatalf("%d were let through within %v", n, time.Since(began))
		}
	}
	if n < burst {
		t.Fatalf("%d were let through, want %d", n, burst)
	}
}

// tooMany holds a message to be the error that says so, and returns when to come back.
func tooMany(t *testing.T, m message, id uint64) time.Duration {
	t.Helper()
	e := payload[struct {
		Code         string
		RetryAfterMS int64 `json:"retry_after_ms"`
	}](t, m)
	if m.ID != id || e.Code != string(wire.TooManyRequests) || e.RetryAfterMS <= 0 {
		t.Fatalf("got %s\nwanted too_many_requests for %d with a time", m.text, id)
	}
	return time.Duration(e.RetryAfterMS) * time.Millisecond
}

func TestLimit_MessagesPerSecond(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.MessagesPerSecond = 5 })
	p := n.peer(0)
	id := 0
	ask := func() message {
		id++
		p.say(`{"type":"heartbeat","id":%d}`, id)
		return p.message()
	}
	var m message
	untilRefused(t, 5, 50, func() bool { // what ten seconds allow
		m = ask()
		return m.Type == "ack"
	})
	wait := tooMany(t, m, uint64(id))
	if wait > 200*time.Millisecond {
		t.Errorf("to come again in %v", wait)
	}
	n.expectStruck("messages_per_second", 1)
	time.Sleep(wait) // as it was told
	if m := ask(); m.Type != "ack" {
		t.Errorf("got %s", m.text)
	}
}

func TestLimit_MessagesPerSecond_WhoGoesOnIsClosed(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.MessagesPerSecond = 1 })
	p, other := n.peer(0), n.dial()
	var flood []byte
	for id := range 1000 {
		flood = append(flood, masked(true, ws.OpText, fmt.Appendf(nil, `{"type":"heartbeat","id":%d}`, id+1))...)
	}
	p.send(flood)
	acks, id := 0, uint64(0)
	for refused := 0; refused < 100; {
		id++
		m := p.message()
		if m.Type == "ack" {
			acks++
			continue
		}
		tooMany(t, m, id)
		refused++
	}
	if acks < 10 || acks > 100 {
		t.Errorf("%d were answered", acks)
	}
	p.closed(wire.CloseTooManyRequests)
	n.expectStruck("messages_per_second", 100)
	other.say(`{"type":"heartbeat","id":1}`)
	other.acked(1)
}

func TestLimit_SubscribesPerSecond(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.SubscribesPerSecond, cfg.Limits.Subscriptions = 1, 20 })
	p := n.peer(0)
	p.subscribe(1, `a.1","a.2","a.3","a.4","a.5","a.6","a.7","a.8","a.9","a.10`)
	p.subscribe(2, `b.1","b.2","b.3","b.4","b.5","b.6","b.7","b.8","b.9","b.10`) // it may hold so many
	p.subscribe(3, `a.1","b.1`)                                                  // which it holds
	p.say(`{"type":"unsubscribe","id":4,"topics":["a.1","a.2","a.3","a.4","a.5","a.6","a.7","a.8","a.9","a.10"]}`)
	p.expectType("ack")
	p.say(`{"type":"subscribe","id":5,"topics":["c.1","c.2","c.3","c.4","c.5","c.6","c.7","c.8","c.9","c.10"]}`)
	if wait := tooMany(t, p.message(), 5); wait > 10*time.Second {
		t.Errorf("to come again in %v", wait)
	}
	n.expectStruck("subscribes_per_second", 1)
}

func TestLimit_Subscriptions(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.Subscriptions = 1 })
	p := n.peer(0)
	p.subscribe(1, "a.1")
	p.say(`{"type":"subscribe","id":2,"topics":["a.2"]}`)
	if m := p.expectType("error"); !strings.Contains(m.text, `"code":"limit_exceeded"`) {
		t.Errorf("got %s", m.text)
	}
	n.expectStruck("subscriptions", 1)
}

func TestLimit_PatternLiterals(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.PatternLiterals = 1 })
	p := n.peer(0)
	for i, narrow := range []string{"metrics.*", "*.web-1", "metrics.>", "*.*.a.>"} {
		p.subscribe(i+1, narrow)
	}
	for i, wide := range []string{">", "*", "*.*", "*.>"} {
		p.say(`{"type":"subscribe","id":9,"topics":["metrics.a","%s"]}`, wide)
		if m := p.expectType("error"); !strings.Contains(m.text, `"code":"limit_exceeded","message":"`+wide+" matches too much") {
			t.Errorf("got %s", m.text)
		}
		n.expectStruck("pattern_literals", float64(i+1))
	}
	refused(t, n.ask(t, "GET /last?topic=%3E HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 400, wire.BadRequest)
	n.expectStruck("pattern_literals", 5)
	if got := n.value("tidings_edge_subscriptions"); got != 4 {
		t.Errorf("%v subscriptions", got)
	}
}

func TestLimit_MessageBytes(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.MessageBytes = 1024 })
	p := n.peer(0)
	p.say(`{"type":"heartbeat","id":1,"pad":"%s"}`, strings.Repeat("x", 1024))
	p.closed(wire.CloseTooBig)
	n.expectStruck("message_bytes", 1)
}

func TestLimit_BadRequests(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.BadRequests = 2 })
	p := n.peer(0)
	for range 2 {
		p.say(`nonsense`)
		p.expectType("error")
	}
	p.closed(wire.CloseTooManyBad)
	n.expectStruck("bad_requests", 1)
}

func TestLimit_Replay(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Limits.Replay, cfg.Limits.Recent = 5, 1 })
	first := c.burst("orders.a", 1, 20)
	p := n.peer(0)
	p.say(`{"type":"subscribe","id":1,"topics":[{"topic":"orders.a","since":{"epoch":"%s","seq":%d}}]}`, c.epoch(), first-19)
	if m := p.expectType("ack"); !strings.Contains(m.text, `"recovered":false`) {
		t.Errorf("got %s", m.text)
	}
	n.expectStruck("replay", 1)
	p.expectType("gap")
	p.say(`{"type":"unsubscribe","id":2,"topics":["orders.a"]}`)
	p.expectType("ack")
	p.say(`{"type":"subscribe","id":3,"topics":[{"topic":"orders.a","last":20}]}`)
	p.expectType("ack")
	for range 5 {
		p.expectType("orders")
	}
	n.expectStruck("replay", 2)
}

func TestLimit_PingsPerSecond(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.PingsPerSecond = 1 })
	for name, frame := range map[string][]byte{
		"pings":           masked(true, ws.OpPing, []byte("x")),
		"unasked pongs":   masked(true, ws.OpPong, nil),
		"empty fragments": masked(false, ws.OpContinuation, nil),
	} {
		t.Run(name, func(t *testing.T) {
			p, before := n.peer(0), n.struck("pings_per_second")
			if name == "empty fragments" {
				p.send(masked(false, ws.OpText, []byte(`{`)))
			}
			for range 500 {
				if _, err := p.conn.Write(frame); err != nil {
					break // it has had enough
				}
			}
			answered := 0
			for {
				f := p.frame()
				if f.Header.OpCode == ws.OpPong {
					answered++
					continue
				}
				if f.Header.OpCode != ws.OpClose {
					t.Fatalf("got a frame of kind %x with %q", f.Header.OpCode, f.Payload)
				}
				if code, _ := ws.ParseCloseFrameData(f.Payload); code != ws.StatusCode(wire.CloseTooManyRequests) {
					t.Errorf("closed with %d", code)
				}
				break
			}
			if least := map[string]int{"pings": 10}[name]; answered < least || answered > 10*least {
				t.Errorf("%d were answered, want %d", answered, least)
			}
			if got := n.struck("pings_per_second") - before; got != 100 {
				t.Errorf("it struck %v times", got)
			}
		})
	}
}

func TestLimit_RefreshesPerSecond(t *testing.T) {
	n := newCluster(t).edge()
	p := n.peer(0)
	id := 0
	var m message
	untilRefused(t, 1, 10, func() bool {
		id++
		p.say(`{"type":"refresh","id":%d,"token":"x"}`, id)
		m = p.expectType("error")
		return !strings.Contains(m.text, "too_many")
	})
	tooMany(t, m, uint64(id))
	n.expectStruck("refreshes_per_second", 1)
}

// One user's flood does not hurt another's latency: what it costs the other is printed.
func TestFlood_OfSome_LeavesOthersTheirLatency(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Loops, cfg.Limits.MessagesPerSecond = 1, 1_000_000 })
	victim := n.peer(0)
	ask := func(rounds int) (slowest, all time.Duration) {
		for id := range rounds {
			began := time.Now()
			victim.say(`{"type":"heartbeat","id":%d}`, id+1)
			victim.expectType("ack")
			took := time.Since(began)
			slowest, all = max(slowest, took), all+took
		}
		return slowest, all / time.Duration(rounds)
	}
	_, quiet := ask(50)

	const flooders = 4
	var flooding sync.WaitGroup
	var floods []*peer
	var flood []byte
	for range 1000 {
		flood = append(flood, masked(true, ws.OpText, []byte(`{"type":"heartbeat","id":1}`))...)
	}
	for range flooders {
		p := n.peer(0)
		flooding.Go(func() {
			for {
				if _, err := p.conn.Write(flood); err != nil {
					return
				}
			}
		})
		flooding.Go(func() { _, _ = io.Copy(io.Discard, p.conn) })
		floods = append(floods, p)
	}
	defer func() {
		for _, p := range floods {
			p.conn.Close()
		}
		flooding.Wait()
	}()
	eventually(t, "the flood", func() bool { return n.value("tidings_edge_requests_total") > 20_000 })
	before, began := n.value("tidings_edge_requests_total"), time.Now()
	slowest, mean := ask(100)
	rate := (n.value("tidings_edge_requests_total") - before) / time.Since(began).Seconds()
	t.Logf("beside %d floods with %.0f requests a second a request takes %v, the slowest of 100 %v; without %v", flooders, rate, mean, slowest, quiet)
	if mean > 100*time.Millisecond {
		t.Errorf("a request takes %v beside a flood", mean)
	}
}
