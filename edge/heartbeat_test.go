package edge_test

import (
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/edge"
	"tidings/edge/wire"
)

func beating(d time.Duration) func(*edge.Config) {
	return func(cfg *edge.Config) { cfg.Heartbeat = d }
}

func TestHeartbeat_IsAPingAndAMessage(t *testing.T) {
	const period = 200 * time.Millisecond
	p := newCluster(t).edge(beating(period)).peer(0)
	start := time.Now()
	const beats = 5
	for range beats {
		ping := p.frame()
		if ping.Header.OpCode != ws.OpPing {
			t.Fatalf("got a frame of kind %x instead of a ping", ping.Header.OpCode)
		}
		p.send(masked(true, ws.OpPong, ping.Payload))
		if m := p.frame(); string(timestamp.ReplaceAll(m.Payload, []byte(`"timestamp":T`))) != `{"type":"heartbeat","timestamp":T}` {
			t.Fatalf("got %s", m.Payload)
		}
	}
	if took := time.Since(start); took < (beats-1)*period || took > 3*beats*period {
		t.Errorf("%d heartbeats in %v, at a period of %v", beats, took, period)
	}
}

func TestClientThatAnswersNoPing_IsClosed(t *testing.T) {
	const period = 150 * time.Millisecond
	n := newCluster(t).edge(beating(period))
	mute := n.peer(0)
	client := n.dial() // which answers
	start := time.Now()
	pings := 0
	for {
		f := mute.frame()
		if f.Header.OpCode == ws.OpPing {
			pings++
			mute.say(`{"type":"heartbeat","id":%d}`, pings) // a message is no pong
			continue
		}
		if f.Header.OpCode == ws.OpClose {
			if code, _ := ws.ParseCloseFrameData(f.Payload); wire.CloseCode(code) != wire.CloseNoPong {
				t.Errorf("closed with %d", code)
			}
			break
		}
	}
	if pings != 2 {
		t.Errorf("closed after %d pings", pings)
	}
	if took := time.Since(start); took < 2*period {
		t.Errorf("closed after %v", took)
	}
	mute.conn.Close()
	for range 6 {
		if m := client.next(); m.Type != "heartbeat" {
			t.Errorf("got %s", m.text)
		}
	}
	if got := n.value("tidings_edge_closes_total", "code", "4409"); got != 1 {
		t.Errorf("%v were counted", got)
	}
}

// Clients far and near answer at different times: a loop looks at what has come since, and not at each pong.
func TestPongs_AreReadTogether(t *testing.T) {
	const clients = 40
	n := newCluster(t).edge(beating(100*time.Millisecond), func(cfg *edge.Config) { cfg.Loops = 1 })
	var answering sync.WaitGroup
	defer answering.Wait()
	for i := range clients {
		p := n.peer(0)
		defer p.conn.Close()
		answering.Go(func() {
			for {
				f, err := p.tryFrame()
				if err != nil {
					return
				}
				if f.Header.OpCode == ws.OpPing {
					time.Sleep(time.Duration(i) * 500 * time.Microsecond) // how far away it is
					p.send(masked(true, ws.OpPong, f.Payload))
				}
			}
		})
	}
	turns := func() float64 { return n.value("tidings_edge_loop_turn_seconds") }
	heard := func() float64 { return n.value("tidings_edge_received_bytes_total") }
	pong := float64(len(masked(true, ws.OpPong, nil)))
	turnsBefore, heardBefore := turns(), heard()
	eventually(t, "there were 1,000 pongs", func() bool { return heard()-heardBefore >= 1000*pong })
	if pongs, took := (heard()-heardBefore)/pong, turns()-turnsBefore; took > pongs/2 {
		t.Errorf("%v turns for %v pongs", took, pongs)
	}
}

// While a subscribe waits for NATS nothing else of its client is looked at, its pongs neither. They don't count meanwhile, and do after.
func TestClientWhoseSubscribeWaits_IsNotTakenForGone(t *testing.T) {
	const period = 150 * time.Millisecond
	c := newCluster(t)
	n := c.edge(beating(period))
	c.nats.Stop()
	eventually(t, "the edge has noticed", func() bool { return len(n.Ready()) > 0 })
	waits := n.peer(0)
	waits.say(`{"type":"subscribe","id":1,"topics":["orders.*"]}`)
	acked, later := false, 0
	for pings := 0; later < 3; {
		f := waits.frame()
		if f.Header.OpCode == ws.OpClose {
			t.Fatalf("closed with %q after %d pings, acked: %v", f.Payload[2:], pings, acked)
		}
		if f.Header.OpCode == ws.OpPing {
			waits.send(masked(true, ws.OpPong, f.Payload))
			if pings++; pings == 6 {
				c.nats.Restart()
			}
			if acked {
				later++
			}
			continue
		}
		m, err := wire.ParseMessage(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		switch m.Type {
		case "ack":
			if acked = true; pings < 6 {
				t.Fatalf("acked after %d pings", pings)
			}
		case "error":
			t.Fatalf("got %s", f.Payload)
		}
	}
	for pings := 0; ; { // and now it answers none
		f := waits.frame()
		if f.Header.OpCode == ws.OpClose {
			if code, _ := ws.ParseCloseFrameData(f.Payload); wire.CloseCode(code) != wire.CloseNoPong || pings > 2 {
				t.Errorf("closed with %d after %d pings", code, pings)
			}
			return
		}
		if f.Header.OpCode == ws.OpPing {
			pings++
		}
	}
}

// A client that is slow, but there, is not taken for one that is gone: its pongs stand behind what it has not read.
func TestSlowClient_IsNotTakenForGone(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small, beating(100*time.Millisecond))
	slow := n.peer(4096)
	slow.subscribe(1, "orders.*")
	c.flood(4, 0, 100, "orders.a")
	n.expectLagging(1)
	time.Sleep(600 * time.Millisecond) // several heartbeats, of which it hears nothing
	for i := 0; i < 100; {
		switch f := slow.frame(); f.Header.OpCode {
		case ws.OpPing:
			slow.send(masked(true, ws.OpPong, f.Payload))
		case ws.OpText:
			m, err := wire.ParseMessage(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if m.Type == "orders" {
				i++
			}
		default:
			t.Fatalf("got a frame of kind %x with %q", f.Header.OpCode, f.Payload)
		}
	}
}
