package edge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/nats-io/nats.go"

	"tidings/edge"
	"tidings/edge/wire"
)

// small makes an edge notice soon that a client does not read.
func small(cfg *edge.Config) { cfg.SendBuffer, cfg.SlowTimeout = 8<<10, time.Minute }

// flood publishes n messages of some KB to each topic, {"n":first,…} and up, and returns the place of the last one.
func (c *cluster) flood(kilobytes, first, n int, topics ...string) uint64 {
	c.t.Helper()
	line := c.line()
	defer line.Close()
	js, err := line.JetStream(nats.PublishAsyncMaxPending(64))
	if err != nil {
		c.t.Fatal(err)
	}
	pad := strings.Repeat("x", kilobytes<<10)
	var last nats.PubAckFuture
	for i := range n {
		for _, topic := range topics {
			if last, err = js.PublishAsync("tidings.pub."+topic, fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, first+i, pad), nats.StallWait(patience)); err != nil {
				c.t.Fatalf("publish: %v", err)
			}
		}
	}
	select {
	case ack := <-last.Ok():
		return ack.Sequence
	case err := <-last.Err():
		c.t.Fatalf("publish: %v", err)
	case <-time.After(patience):
		c.t.Fatal("publish: no ack")
	}
	return 0
}

// number is the n of a message's payload.
func (m message) number(t testing.TB) int {
	t.Helper()
	var p struct{ N int }
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		t.Fatalf("%.200s: %v", m.text, err)
	}
	return p.N
}

func (n *node) expectLagging(want float64) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("%v clients lag", want), func() bool { return n.value("tidings_edge_lagging_connections") == want })
}

func TestSlowClient_GetsNewest(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small)
	slow, fast := n.peer(4096), n.dial()
	slow.subscribe(1, "metrics.*")
	fast.subscribe("metrics.*")
	const many = 500
	c.flood(4, 0, many, "metrics.a", "metrics.b")
	n.expectLagging(1)
	c.flood(4, 0, many, "metrics.c")                 // which it has not heard of before
	for count := map[int]int{}; count[many-1] < 3; { // another client is not held up
		count[fast.next().number(t)]++
	}
	last, newest, came, skipped := map[string]uint64{}, 0, 0, false
	for newest < 3 {
		m := slow.message()
		if m.Seq <= last[m.Topic] {
			t.Fatalf("after %d came %.100s", last[m.Topic], m.text)
		}
		skipped = skipped || (last[m.Topic] != 0 && m.Prev > last[m.Topic])
		last[m.Topic] = m.Seq
		if came++; m.number(t) == many-1 {
			newest++
		}
	}
	if came > many/2 || !skipped {
		t.Errorf("%d messages came to a client that did not read, prev told so: %v", came, skipped)
	}
	if got := n.value("tidings_edge_conflated_total"); got < many/2 {
		t.Errorf("%v values were counted as replaced", got)
	}
	n.expectLagging(0)
	// Now it keeps up, and misses nothing.
	for i := range 10 {
		c.flood(1, many+i, 1, "metrics.a")
		if m := slow.message(); m.Prev != last["metrics.a"] || m.number(t) != many+i {
			t.Fatalf("after %d came %.100s", last["metrics.a"], m.text)
		} else {
			last["metrics.a"] = m.Seq
		}
	}
}

func TestSlowClient_GetsAllOfEvery(t *testing.T) {
	for name, topics := range map[string][]string{
		"one pattern":          {"orders.*"},
		"several patterns":     {"orders.a", "orders.b"},
		"overlapping patterns": {"orders.*", "*.a", "orders.b"},
		"with latest topics":   {">"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			n := c.edge(small)
			slow, fast := n.peer(4096), n.dial()
			slow.t = t
			for i, topic := range topics {
				slow.subscribe(i+1, topic)
			}
			fast.subscribe("orders.a")
			const many = 500 // more than an edge keeps in memory, less than the stream does
			c.flood(2, 0, many, "orders.a", "orders.b", "metrics.a")
			n.expectLagging(1)
			for i := range many {
				if m := fast.next(); m.number(t) != i {
					t.Fatalf("another client got %.100s, want number %d", m.text, i)
				}
			}
			slow.takesAllOf(many, "orders.a", "orders.b")
			n.expectLagging(0)
			c.flood(1, many, 1, "orders.a", "orders.b")
			for range 2 {
				for m := slow.message(); m.number(t) != many; m = slow.message() {
				}
			}
			if got := n.value("tidings_edge_gaps_total"); got != 0 {
				t.Errorf("%v gaps were told", got)
			}
			if got := n.value("tidings_edge_replays_total", "cause", "refill"); got == 0 {
				t.Error("the stream was never read: the test is too small")
			}
		})
	}
}

// takesAllOf reads messages 0 to many-1 of each topic, in rising seq over all of them, each after its predecessor. Others are
// passed over.
func (p *peer) takesAllOf(many int, topics ...string) {
	p.t.Helper()
	next, last, over := map[string]int{}, map[string]uint64{}, uint64(0)
	for i := 0; i < many*len(topics); {
		m := p.message()
		if !strings.HasPrefix(m.Topic, "orders.") {
			if m.Type != "metrics" {
				p.t.Fatalf("got %.200s", m.text)
			}
			continue
		}
		if m.Seq <= over || m.Prev != last[m.Topic] || m.number(p.t) != next[m.Topic] {
			p.t.Fatalf("after %d, and %d of this topic, came %.100s; want number %d", over, last[m.Topic], m.text, next[m.Topic])
		}
		over, last[m.Topic] = m.Seq, m.Seq
		next[m.Topic]++
		i++
	}
}

// What the stream has no more either is said.
func TestSlowClient_IsToldWhatIsGone(t *testing.T) {
	c := newCluster(t, limited(50))
	n := c.edge(small, func(cfg *edge.Config) { cfg.Limits.Recent = 16 })
	slow := n.peer(4096)
	slow.subscribe(1, "orders.*")
	const many = 400
	c.flood(4, 0, many, "orders.a")
	n.expectLagging(1)
	last, lost := uint64(0), uint64(0)
	for {
		m := slow.message()
		if m.Type == "gap" {
			p := payload[wire.GapPayload](t, m)
			// One gap may follow another: by the time that the stream is read again, it may have lost more.
			if p.Reason != wire.GapSlow || p.After < last || p.After >= max(last+1, lost) {
				t.Fatalf("after %d, with a gap up to %d, came %s", last, lost, m.text)
			}
			lost = p.Before
			continue
		}
		if m.Prev != last && (lost == 0 || m.Seq < lost || last >= lost) {
			t.Fatalf("after %d, with a gap up to %d, came %.100s", last, lost, m.text)
		}
		last = m.Seq
		if m.number(t) == many-1 {
			break
		}
	}
	if lost == 0 {
		t.Error("nothing was lost: the test is too small")
	}
	if n.value("tidings_edge_gaps_total", "reason", "slow") == 0 {
		t.Error("it was not counted")
	}
}

func TestSlowClient_GetsEveryAnswer(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small, func(cfg *edge.Config) { cfg.Limits.MessagesPerSecond, cfg.Limits.PingsPerSecond = 1_000_000, 1_000_000 })
	slow := n.peer(4096)
	slow.subscribe(1, "metrics.*")
	c.flood(4, 0, 50, "metrics.a")
	n.expectLagging(1)
	// It asks until the edge takes no more, since it does not take the answers.
	_ = slow.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	id, request := 1, []byte(nil)
	for {
		request = request[:0]
		for range 50 {
			id++
			request = append(request, masked(true, ws.OpText, fmt.Appendf(nil, `{"type":"heartbeat","id":%d}`, id))...)
			request = append(request, masked(true, ws.OpPing, []byte("x"))...)
		}
		sent, err := slow.conn.Write(request)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			request = request[sent:] // to be sent when there is room
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if id > 2_000_000 {
			t.Fatal("the edge takes requests for ever")
		}
	}
	rest := make(chan error, 1)
	go func() {
		_ = slow.conn.SetWriteDeadline(time.Now().Add(patience))
		_, err := slow.conn.Write(request)
		rest <- err
	}()
	for want := 2; want <= id; {
		switch f := slow.frame(); f.Header.OpCode {
		case ws.OpPong, ws.OpPing:
		case ws.OpText:
			m, err := wire.ParseMessage(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if m.Type == "metrics" {
				continue
			}
			if m.Type != "ack" || m.ID != uint64(want) {
				t.Fatalf("got %s, want the ack of %d", f.Payload, want)
			}
			want++
		default:
			t.Fatalf("got a frame of kind %x", f.Header.OpCode)
		}
	}
	if err := <-rest; err != nil {
		t.Error(err)
	}
}

// Subscribing once more to what is held is acked with a place: all up to there has been sent, also to a client that lags.
func TestSlowClient_IsAckedNoFurtherThanItWasSent(t *testing.T) {
	for name, pattern := range map[string]string{"every": "orders.*", "latest": "metrics.*"} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			n := c.edge(small)
			slow := n.peer(4096)
			slow.t = t
			slow.subscribe(1, pattern)
			topic := strings.Replace(pattern, "*", "a", 1)
			const many = 100
			last := c.flood(4, 0, many, topic)
			n.expectLagging(1)
			c.hears(n, many)
			slow.say(`{"type":"subscribe","id":2,"topics":["%s"]}`, pattern)
			eventually(t, "the request is read", func() bool { return n.value("tidings_edge_requests_total") == 2 })
			acked := ^uint64(0)
			for reached := uint64(0); reached < last || acked > last; {
				m := slow.message()
				if m.Type == "ack" {
					acked = payload[wire.AckPayload](t, m).Topics[0].Seq
					continue
				}
				if reached = m.Seq; acked <= last && reached <= acked {
					t.Fatalf("acked at %d, and then came %d", acked, reached)
				}
			}
		})
	}
}

// hears waits until an edge has taken so many messages from NATS.
func (c *cluster) hears(n *node, messages float64) {
	c.t.Helper()
	eventually(c.t, "the edge has heard all", func() bool { return n.value("tidings_edge_nats_messages_total") >= messages })
}

func TestClientThatTakesNothing_IsClosed(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small, func(cfg *edge.Config) { cfg.SlowTimeout = 500 * time.Millisecond })
	n.peer(4096).subscribe(1, "metrics.*")
	fast := n.dial()
	fast.subscribe("metrics.*")
	start := time.Now()
	stop := c.torrentOf(strings.Repeat("x", 4<<10), "metrics.a")
	defer stop()
	eventually(t, "it is closed as too slow", func() bool { return n.value("tidings_edge_closes_total", "code", "4408") == 1 })
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("it was closed after %v", took)
	}
	if n.value("tidings_edge_connections") != 1 {
		t.Error("it is still there")
	}
	stop()
	last := c.flood(1, 0, 1, "metrics.a")
	for m := fast.next(); m.Seq != last; m = fast.next() {
	}
}

// A client that takes a little all the time is not one that takes nothing.
func TestClientThatTakesALittle_IsKept(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.SlowTimeout = 1500 * time.Millisecond })
	slow := n.peer(32 << 10)
	slow.subscribe(1, "orders.*")
	c.flood(16, 0, 80, "orders.a") // more than it takes in the time below
	n.expectLagging(1)
	buf := make([]byte, 4<<10)
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := slow.in.Read(buf); err != nil {
			t.Fatalf("closed although it takes something: %v", err)
		}
	}
	if got := n.value("tidings_edge_closes_total", "code", "4408"); got != 0 {
		t.Error("closed as too slow although it takes something")
	}
}

// last:n through a socket that takes little at a time: all of it arrives, whatever else comes.
func TestWhatASubscribeBrings_ArrivesWhole(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small)
	c.flood(2, 0, 30, "metrics.a", "orders.a")
	slow := n.peer(4096)
	n.dial().subscribe("metrics.*", "orders.*")
	for id, topic := range []string{"metrics.a", "orders.a"} {
		slow.say(`{"type":"subscribe","id":%d,"topics":[{"topic":"%s","last":20}]}`, id+1, topic)
	}
	eventually(t, "both are subscribed to", func() bool { return n.value("tidings_edge_subscriptions") == 4 })
	n.expectLagging(1)
	c.flood(2, 30, 20, "metrics.a", "orders.a")
	next := map[string]int{"metrics.a": 10, "orders.a": 10}
	for next["orders.a"] < 50 || next["metrics.a"] < 50 {
		m := slow.message()
		if m.Type == "ack" {
			continue
		}
		got := m.number(t)
		if want := next[m.Topic]; got != want && (m.Topic == "orders.a" || want < 30 || got < want) {
			t.Fatalf("got number %d of %s, want %d", got, m.Topic, want)
		}
		next[m.Topic] = got + 1
	}
}

func TestManySlowClients_HoldUpNobody(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small, func(cfg *edge.Config) { cfg.Loops = 1 })
	const many = 40
	for range many {
		n.peer(4096).subscribe(1, ">")
	}
	fast := n.dial()
	fast.subscribe("orders.*")
	c.flood(4, 0, 60, "orders.a", "metrics.a")
	n.expectLagging(many)
	for i := range 60 {
		if m := fast.next(); m.number(t) != i {
			t.Fatalf("got %.100s, want number %d", m.text, i)
		}
	}
	for i := range 20 {
		start := time.Now()
		c.publish("orders.a", fmt.Sprintf(`{"n":%d}`, 60+i))
		if m := fast.next(); m.number(t) != 60+i {
			t.Fatalf("got %.100s", m.text)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a delivery took %v", took)
		}
	}
}

func TestLargestMessages_ReachASlowClient(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small)
	slow := n.peer(4096)
	slow.subscribe(1, "orders.*")
	big := `"` + strings.Repeat("x", 900<<10) + `"`
	for range 3 {
		c.publish("orders.a", big)
	}
	for seq := uint64(1); seq <= 3; seq++ {
		if m := slow.message(); m.Seq != seq || !bytes.Equal(m.Payload, []byte(big)) {
			t.Fatalf("got %.100s", m.text)
		}
	}
}
