package edge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"

	"tidings/edge"
	"tidings/edge/wire"
)

const heartbeatRequest = `{"type":"heartbeat","id":7}`

// header is a frame header by hand: nothing of it need make sense.
func header(first, second byte, length uint64) []byte {
	b := []byte{first, second}
	switch second & 0x7f {
	case 126:
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	case 127:
		b = binary.BigEndian.AppendUint64(b, length)
	}
	if second&0x80 != 0 {
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

func TestBadFrames_HurtNobodyElse(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops, cfg.Limits.MessageBytes = 1, 4096 })
	other := n.dial()
	other.subscribe("orders.*")
	text := []byte(heartbeatRequest)
	unmasked := ws.MustCompileFrame(ws.NewTextFrame(text))
	for _, c2 := range []struct {
		name string
		send []byte
		code wire.CloseCode
	}{
		{"unmasked", unmasked, wire.CloseProtocolError},
		{"RSV1 without an extension", append(header(0xc1, 0x80|5, 0), "hello"...), wire.CloseProtocolError},
		{"RSV2", append(header(0xa1, 0x80|5, 0), "hello"...), wire.CloseProtocolError},
		{"RSV3", append(header(0x91, 0x80|5, 0), "hello"...), wire.CloseProtocolError},
		{"a reserved data opcode", append(header(0x83, 0x80|5, 0), "hello"...), wire.CloseProtocolError},
		{"a reserved control opcode", header(0x8b, 0x80, 0), wire.CloseProtocolError},
		{"a continuation of nothing", masked(true, ws.OpContinuation, text), wire.CloseProtocolError},
		{"a new message within a fragmented one", append(masked(false, ws.OpText, text), masked(true, ws.OpText, text)...), wire.CloseProtocolError},
		{"a fragmented ping", masked(false, ws.OpPing, text), wire.CloseProtocolError},
		{"a ping of 126 bytes", masked(true, ws.OpPing, bytes.Repeat([]byte("x"), 126)), wire.CloseProtocolError},
		{"a close of one byte", masked(true, ws.OpClose, []byte{3}), wire.CloseProtocolError},
		{"a close with a code that may not be sent", masked(true, ws.OpClose, []byte{0x03, 0xed}), wire.CloseProtocolError},
		{"a close with code 0", masked(true, ws.OpClose, []byte{0, 0}), wire.CloseProtocolError},
		{"a close whose reason is not UTF-8", masked(true, ws.OpClose, []byte{0x03, 0xe8, 0xff}), wire.CloseProtocolError},
		{"text that is not UTF-8", masked(true, ws.OpText, []byte{'"', 0xff, '"'}), wire.CloseInvalidUTF8},
		{"text that ends within a character", masked(true, ws.OpText, []byte("caf\xc3")), wire.CloseInvalidUTF8},
		{"bad UTF-8 over two fragments", append(masked(false, ws.OpText, []byte("caf\xc3")), masked(true, ws.OpContinuation, []byte("x"))...), wire.CloseInvalidUTF8},
		{"too big", masked(true, ws.OpText, bytes.Repeat([]byte(" "), 4097)), wire.CloseTooBig},
		{"too big, in a header alone", header(0x81, 0x80|127, 1<<40), wire.CloseTooBig},
		{"2^63-1 bytes", header(0x81, 0x80|127, 1<<63-1), wire.CloseTooBig},
		{"2^63 bytes", header(0x81, 0x80|127, 1<<63), wire.CloseProtocolError},
		{"too big over fragments", append(masked(false, ws.OpText, bytes.Repeat([]byte(" "), 4000)), masked(true, ws.OpContinuation, bytes.Repeat([]byte(" "), 97))...), wire.CloseTooBig},
		{"fragments and then 2^63-1 bytes", append(masked(false, ws.OpText, text), header(0x80, 0x80|127, 1<<63-1)...), wire.CloseTooBig},
	} {
		t.Run(c2.name, func(t *testing.T) {
			p := n.peer(0)
			p.t = t
			p.subscribe(1, "orders.*")
			before := n.value("tidings_edge_closes_total", "code", fmt.Sprint(uint16(c2.code)))
			p.send(c2.send)
			p.closed(c2.code)
			if n.value("tidings_edge_closes_total", "code", fmt.Sprint(uint16(c2.code))) != before+1 {
				t.Error("it was not counted")
			}
			other.t = t
			other.data(at("orders.a", c.publish("orders.a", `1`)))
		})
	}
	other.quiet()
	if got := n.value("tidings_edge_connections"); got != 1 {
		t.Errorf("%v connections are left", got)
	}
}

func TestNonsense_HurtsNobodyElse(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	other := n.dial()
	other.subscribe("orders.*")
	for name, nonsense := range map[string][]byte{
		"TLS":        []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
		"zeros":      make([]byte, 10_000),
		"HTTP/2":     []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"line feeds": []byte(strings.Repeat("\r\n", 100)),
		"SSH":        []byte("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
		"half":       []byte(handshake[:50]),
	} {
		t.Run(name, func(t *testing.T) {
			conn := n.tcp()
			if _, err := conn.Write(nonsense); err != nil {
				t.Fatal(err)
			}
			other.data(at("orders.a", c.publish("orders.a", `1`)))
			conn.Close()
		})
	}
	// A connection that hangs up in the middle of anything.
	whole := append([]byte(handshake), masked(true, ws.OpText, []byte(`{"type":"subscribe","id":1,"topics":["orders.*"]}`))...)
	for i := 0; i < len(whole); i += 7 {
		conn := n.tcp()
		if _, err := conn.Write(whole[:i]); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	other.data(at("orders.a", c.publish("orders.a", `1`)))
	eventually(t, "all others are gone", func() bool { return n.value("tidings_edge_connections") == 1 })
}

func TestFrames_SplitAtEveryByte(t *testing.T) {
	n := newCluster(t).edge()
	p := n.peer(0)
	var all []byte
	all = append(all, masked(true, ws.OpText, []byte(heartbeatRequest))...)
	all = append(all, masked(false, ws.OpText, []byte(heartbeatRequest[:9]))...)
	all = append(all, masked(true, ws.OpPing, []byte("hey"))...)
	all = append(all, masked(true, ws.OpContinuation, []byte(heartbeatRequest[9:]))...)
	for i := 1; i < len(all); i++ {
		before := n.value("tidings_edge_received_bytes_total")
		p.send(all[:i])
		eventually(t, "the edge reads the first part", func() bool { return n.value("tidings_edge_received_bytes_total") == before+float64(i) })
		p.send(all[i:])
		p.expectType("ack")
		if f := p.frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "hey" {
			t.Fatalf("split at %d: got a frame of kind %x with %q instead of a pong", i, f.Header.OpCode, f.Payload)
		}
		p.expectType("ack")
	}
	// And a byte at a time.
	for _, b := range all {
		p.send([]byte{b})
	}
	p.expectType("ack")
	p.frame()
	p.expectType("ack")
}

func TestFragmentedMessage_IsOneMessage(t *testing.T) {
	p := newCluster(t).edge().peer(0)
	text := []byte(`{"type":"heartbeat","id":7,"note":"` + strings.Repeat("é", 300) + `"}`)
	p.send(masked(false, ws.OpText, nil))
	for i, b := range text { // also within characters
		p.send(masked(false, ws.OpContinuation, []byte{b}))
		if i%50 == 0 {
			p.send(masked(true, ws.OpPing, []byte{byte(i)}))
			if f := p.frame(); f.Header.OpCode != ws.OpPong || f.Payload[0] != byte(i) {
				t.Fatalf("got a frame of kind %x", f.Header.OpCode)
			}
		}
	}
	p.send(masked(true, ws.OpPong, nil))
	p.send(masked(true, ws.OpContinuation, nil))
	if m := p.expectType("ack"); m.ID != 7 {
		t.Errorf("got %s", m.text)
	}
}

func TestMessage_AsBigAsAllowed_IsTaken(t *testing.T) {
	const most = 65536
	n := newCluster(t).edge()
	client := n.dial()
	text := `{"type":"heartbeat","id":1,"note":"`
	client.say("%s", text+strings.Repeat("x", most-len(text)-2)+`"}`)
	client.acked(1)
	// The close is heard although the edge has not taken all of what is too big.
	for size := most + 1; size < 32<<20; size *= 8 {
		client := n.dial()
		_ = client.conn.Write(t.Context(), websocket.MessageText, []byte(text+strings.Repeat("x", size-len(text)-2)+`"}`))
		client.closed(wire.CloseTooBig)
	}
}

func TestPing_IsAnswered(t *testing.T) {
	p := newCluster(t).edge().peer(0)
	for _, body := range []string{"", "x", strings.Repeat("y", 125)} {
		p.send(masked(true, ws.OpPing, []byte(body)))
		if f := p.frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != body {
			t.Errorf("got a frame of kind %x with %q", f.Header.OpCode, f.Payload)
		}
	}
	p.send(masked(true, ws.OpPong, []byte("nobody asked")))
	p.say(heartbeatRequest)
	p.expectType("ack")
}

func TestClose_IsAnsweredWithItsCode(t *testing.T) {
	n := newCluster(t).edge()
	for _, code := range []wire.CloseCode{1000, 1001, 1011, 3000, 4000, 4999} {
		t.Run(fmt.Sprint(uint16(code)), func(t *testing.T) {
			p := n.peer(0)
			p.t = t
			p.send(masked(true, ws.OpClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), "bye"...)))
			f := p.frame()
			if f.Header.OpCode != ws.OpClose || binary.BigEndian.Uint16(f.Payload) != uint16(code) {
				t.Errorf("got a frame of kind %x with %q", f.Header.OpCode, f.Payload)
			}
			p.ended() // the server closes first (RFC 6455 §7.1.1)
		})
	}
	t.Run("none", func(t *testing.T) {
		p := n.peer(0)
		p.send(masked(true, ws.OpClose, nil))
		if f := p.frame(); f.Header.OpCode != ws.OpClose {
			t.Errorf("got a frame of kind %x", f.Header.OpCode)
		}
		p.ended()
	})
	if client := n.dial(); client.conn.Close(websocket.StatusNormalClosure, "bye") != nil {
		t.Errorf("a decent client's close: %v", client.err)
	}
	eventually(t, "all are gone", func() bool { return n.value("tidings_edge_connections") == 0 })
	if got := n.value("tidings_edge_closes_total", "code", "1000"); got < 2 {
		t.Errorf("%v were counted", got)
	}
}

func TestAfterAClose_NothingMoreIsHeard(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	p := n.peer(0)
	p.send(append(masked(true, ws.OpClose, []byte{0x03, 0xe8}), masked(true, ws.OpText, []byte(heartbeatRequest))...))
	if f := p.frame(); f.Header.OpCode != ws.OpClose {
		t.Errorf("got a frame of kind %x with %q", f.Header.OpCode, f.Payload)
	}
	p.ended()
}

func TestFragments_CostNoMoreThanTheirMessage(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.MessageBytes, cfg.Limits.PingsPerSecond = 1024, 10_000 })
	p := n.peer(0)
	// Empty ones may go on for ever, since they make nothing grow.
	var many []byte
	many = append(many, masked(false, ws.OpText, []byte(heartbeatRequest[:5]))...)
	for range 20_000 {
		many = append(many, masked(false, ws.OpContinuation, nil)...)
	}
	p.send(many)
	p.send(masked(true, ws.OpContinuation, []byte(heartbeatRequest[5:])))
	if m := p.expectType("ack"); m.ID != 7 {
		t.Errorf("got %s", m.text)
	}
}

func TestCompression_CarriesTheSame(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	big := `{"text":"` + strings.Repeat("again and again ", 500) + `"}`
	for _, mode := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		client := n.dial(func(o *websocket.DialOptions) { o.CompressionMode, o.CompressionThreshold = mode, 1 })
		client.subscribe("orders.*")
		for range 3 {
			seq := c.publish("orders.a", big)
			if m := client.next(); m.Seq != seq || string(m.Payload) != big {
				t.Fatalf("got %.100s", m.text)
			}
			client.data(at("orders.a", c.publish("orders.a", `1`)))
		}
		client.say(`{"type":"heartbeat","id":99,"note":"%s"}`, strings.Repeat("x", 30_000))
		client.acked(99)
	}
	plain := n.dial()
	plain.subscribe("orders.*")
	c.publish("orders.a", big)
	if m := plain.next(); string(m.Payload) != big {
		t.Fatalf("got %.100s", m.text)
	}
}

func TestInflatedMessage_ThatIsTooBig_IsRefused(t *testing.T) {
	client := newCluster(t).edge().dial(func(o *websocket.DialOptions) {
		o.CompressionMode, o.CompressionThreshold = websocket.CompressionNoContextTakeover, 1
	})
	client.say(`{"type":"heartbeat","id":1,"note":"%s"}`, strings.Repeat("x", 1<<20)) // some 1 KB as it travels
	client.closed(wire.CloseTooBig)
}
