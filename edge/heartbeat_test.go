package edge_test

import (
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
