package edge_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/edge/wire"
)

// handshake is an upgrade request as a browser would send it.
const handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1\r\n\r\n"

// peer is a WebSocket client by hand, for what a decent one would not do.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// peer connects and takes the greeting. With a receive buffer (bytes; 0: the kernel's choice) a client that does not
// read is soon noticed.
func (n *node) peer(receiveBuffer int) *peer {
	n.t.Helper()
	p := n.peerOn(n.tcpWith(receiveBuffer))
	p.send([]byte(handshake))
	p.switched()
	p.expectType("connected")
	return p
}

func (n *node) peerOn(conn net.Conn) *peer {
	return &peer{t: n.t, conn: conn, in: bufio.NewReader(conn)}
}

// tcp opens a bare connection to the edge.
func (n *node) tcp() net.Conn {
	n.t.Helper()
	return n.tcpWith(0)
}

func (n *node) tcpWith(receiveBuffer int) net.Conn {
	n.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if receiveBuffer > 0 {
			_ = c.Control(func(fd uintptr) { err = narrow(fd, receiveBuffer) })
		}
		return err
	}}
	conn, err := d.Dial("tcp", n.host)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// say sends a text message in one masked frame.
func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	p.send(masked(true, ws.OpText, []byte(fmt.Sprintf(format, args...))))
}

// masked is a frame as a client sends it.
func masked(fin bool, op ws.OpCode, body []byte) []byte {
	f := ws.NewFrame(op, fin, append([]byte(nil), body...))
	return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
}

// switched takes the answer to a handshake that succeeds.
func (p *peer) switched() *http.Response {
	p.t.Helper()
	r, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Fatalf("no answer to the handshake: %v", err)
	}
	if r.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(r.Body)
		p.t.Fatalf("handshake: %s: %s", r.Status, body)
	}
	return r
}

// frame waits for a frame, which no server masks.
func (p *peer) frame() ws.Frame {
	p.t.Helper()
	f, err := p.tryFrame()
	if err != nil {
		p.t.Fatalf("no frame came: %v", err)
	}
	return f
}

func (p *peer) tryFrame() (ws.Frame, error) {
	f, err := readFrame(p.in)
	if err == nil && (f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0) {
		p.t.Errorf("frame header %+v", f.Header)
	}
	return f, err
}

// readFrame reads a frame of an edge, which bounds its messages.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// message waits for a text message; pings are passed over.
func (p *peer) message() message {
	p.t.Helper()
	for {
		switch f := p.frame(); f.Header.OpCode {
		case ws.OpPing:
		case ws.OpText:
			m, err := wire.ParseMessage(f.Payload)
			if err != nil {
				p.t.Fatalf("the edge sent %s: %v", f.Payload, err)
			}
			return message{m, string(f.Payload)}
		default:
			p.t.Fatalf("got a frame of kind %x with %q instead of a message", f.Header.OpCode, f.Payload)
		}
	}
}

func (p *peer) expectType(kind string) message {
	p.t.Helper()
	m := p.message()
	if m.Type != kind {
		p.t.Fatalf("got %s\nwanted %s", m.text, kind)
	}
	return m
}

// subscribe asks for a topic, or JSON that stands for one, and takes the ack, which must come next.
func (p *peer) subscribe(id int, topic string) {
	p.t.Helper()
	if !strings.HasPrefix(topic, "{") {
		topic = `"` + topic + `"`
	}
	p.say(`{"type":"subscribe","id":%d,"topics":[%s]}`, id, topic)
	if m := p.expectType("ack"); m.ID != uint64(id) {
		p.t.Fatalf("got %s\nwanted the ack of %d", m.text, id)
	}
}

// closed expects a close frame with a code as the next thing, and then the end.
func (p *peer) closed(code wire.CloseCode) {
	p.t.Helper()
	f := p.frame()
	if f.Header.OpCode != ws.OpClose {
		p.t.Fatalf("got a frame of kind %x with %q instead of a close with %d", f.Header.OpCode, f.Payload, code)
	}
	if got := binary.BigEndian.Uint16(f.Payload); got != uint16(code) {
		p.t.Fatalf("closed with %d %q, want %d", got, f.Payload[2:], code)
	}
	_, _ = p.conn.Write(masked(true, ws.OpClose, f.Payload[:2]))
	p.ended()
}

// ended expects that the connection is closed, and nothing before that.
func (p *peer) ended() {
	p.t.Helper()
	if f, err := p.tryFrame(); err == nil {
		p.t.Fatalf("got a frame of kind %x with %q instead of the end", f.Header.OpCode, f.Payload)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		p.t.Fatal("the connection was not closed")
	}
	p.conn.Close()
}
