package edge

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// queueMax is how many answers a client may leave untaken before it is no longer heard.
const queueMax = 256

// A turn of the loop looks at so much of what one client says, and then at the next one's. What is left over waits for the next
// turn, and until then the client is not read from, so that one that floods is slowed down by its own full socket.
const (
	turnShare = 32 << 10 // bytes, inflated ones too
	frameCost = 1 << 10  // of a frame, be it empty, in bytes that take as long
)

// readable takes what a socket has for us: the upgrade request, or frames. What is complete is handled right in
// the loop's buffer; only an incomplete rest is kept.
func (l *loop) readable(slot uint32, c *conn) {
	if c.pending != nil && c.input != nil && len(c.input.raw) > 0 {
		// Requests are answered in order, and one waits for NATS: the kernel keeps the rest meanwhile.
		l.arm(slot, c, c.armed&^poll.Readable)
		return
	}
	if c.deaf() || c.waits {
		// It asks and does not take the answers, or more than there is time for. It is heard again when that has changed.
		l.arm(slot, c, c.armed&^poll.Readable)
		return
	}
	if c.state == serving && c.input != nil && len(c.input.raw) > l.node.cfg.Limits.MessageBytes+ws.MaxHeaderSize {
		l.hear(slot, c) // more than one frame can be: requests from before it was deaf come first
		return
	}
	n, err := c.sock.Read(l.read)
	if err != nil {
		if !errors.Is(err, poll.ErrAgain) {
			l.hungUp(slot, c)
		}
		return
	}
	l.node.metrics.bytesIn.Add(float64(n))
	l.received(slot, c, l.read[:n])
}

// received handles bytes of a connection behind those that are kept of it.
func (l *loop) received(slot uint32, c *conn, data []byte) {
	if c.state == failed {
		return
	}
	if c.input != nil && len(c.input.raw) > 0 {
		c.input.raw = append(c.input.raw, data...)
		data = c.input.raw
	}
	l.consume(slot, c, data)
}

// hungUp ends a connection whose other side did.
func (l *loop) hungUp(slot uint32, c *conn) {
	switch c.state {
	case greeting:
		l.node.metrics.handshakes[handshakeAborted].Inc()
		l.drop(slot, c, 0)
	case closing, ending, failed:
		l.drop(slot, c, 0)
	default:
		l.drop(slot, c, closedByPeer)
	}
}

// deaf reports whether so many answers are untaken that a connection is not heard.
func (c *conn) deaf() bool { return c.lag != nil && len(c.lag.queue) > queueMax }

// hear goes on with what a connection said while it was not heard.
func (l *loop) hear(slot uint32, c *conn) {
	if c.state != serving || c.input == nil || c.pending != nil || c.deaf() || c.waits {
		return
	}
	l.arm(slot, c, c.armed|poll.Readable)
	if rest := c.input.raw; len(rest) > 0 {
		l.consume(slot, c, rest)
	}
}

// consume handles what is complete of data and keeps the rest.
func (l *loop) consume(slot uint32, c *conn, data []byte) {
	gen, was := c.gen, c.state
	l.share = turnShare
	for len(data) > 0 && c.pending == nil && !c.deaf() {
		if l.share <= 0 {
			c.keep(data)
			l.putOff(slot, c)
			return
		}
		var n int
		if c.state == greeting {
			n = l.greet(slot, c, data)
		} else {
			n = l.frame(slot, c, data)
		}
		if c.gen != gen || c.state == freeSlot || c.state == ending {
			return // handed over or dropped
		}
		if c.state == failed || (c.state == closing && was != closing) {
			c.input = nil
			return
		}
		if n == 0 {
			break
		}
		data = data[n:]
	}
	c.keep(data)
}

// putOff has the rest of what a connection said looked at in the next turn.
func (l *loop) putOff(slot uint32, c *conn) {
	c.waits = true
	l.waiting = append(l.waiting, ref{slot, c.gen})
}

// goOn looks at what was put off.
func (l *loop) goOn() {
	for range len(l.waiting) {
		r := l.waiting[0]
		l.waiting = l.waiting[1:]
		c := l.conns.find(r)
		if c == nil {
			continue
		}
		c.waits = false
		if c.state == closing && c.input != nil { // its answer to the close may be in there
			l.consume(r.slot, c, c.input.raw)
			continue
		}
		l.hear(r.slot, c)
	}
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
}

// keep remembers bytes that are not complete; data may lie in what is kept already.
func (c *conn) keep(data []byte) {
	switch {
	case len(data) > 0:
		if c.input == nil {
			c.input = &input{}
		}
		if raw := c.input.raw; len(raw) != len(data) || &raw[0] != &data[0] {
			c.input.raw = append(raw[:0], data...)
		}
	case c.input != nil:
		c.input.raw = nil
		if !c.input.fragment {
			c.input = nil
		}
	}
}

// headerReader parses frame headers from memory without allocating.
type headerReader struct {
	bytes.Reader
	scratch [ws.MaxHeaderSize]byte
}

// frame handles the first frame of data and returns how long it was; 0: it is not complete.
func (l *loop) frame(slot uint32, c *conn, data []byte) int {
	l.header.Reset(data)
	h, err := ws.ReadHeaderBuffer(&l.header, l.header.scratch[:])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0
	case err != nil:
		l.violate(slot, c, err)
		return 0
	}
	state := ws.StateServerSide
	if c.input != nil && c.input.fragment {
		state |= ws.StateFragmented
	}
	deflated := c.deflate && h.Rsv1() && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
	if deflated {
		h.Rsv = ws.Rsv(false, h.Rsv2(), h.Rsv3())
	}
	if err := ws.CheckHeader(h, state); err != nil {
		l.violate(slot, c, err)
		return 0
	}
	size := h.Length
	if c.input != nil && h.OpCode.IsData() {
		size += int64(len(c.input.message))
	}
	if size < 0 || size > int64(l.node.cfg.Limits.MessageBytes) {
		l.node.metrics.limited[limitMessageBytes].Inc()
		l.giveUpOn(slot, c, wire.CloseTooBig, "message too big")
		return 0
	}
	head := len(data) - l.header.Len()
	end := head + int(h.Length)
	if len(data) < end {
		return 0
	}
	l.share -= frameCost + int(h.Length)
	payload := data[head:end]
	ws.Cipher(payload, h.Mask, 0)
	if h.OpCode.IsControl() {
		l.control(slot, c, h.OpCode, payload)
		return end
	}
	if h.Fin && h.OpCode != ws.OpContinuation {
		l.message(slot, c, payload, h.OpCode == ws.OpBinary, deflated)
		return end
	}
	if c.input == nil {
		c.input = &input{}
	}
	in := c.input
	if h.OpCode != ws.OpContinuation {
		in.fragment, in.binary, in.deflated = true, h.OpCode == ws.OpBinary, deflated
	}
	in.message = append(in.message, payload...)
	if h.Length == 0 && !h.Fin { // a message may be as long as it likes in these
		l.over(slot, c, limitPings, 1, 0)
	}
	if h.Fin {
		message := in.message
		in.fragment, in.message = false, nil
		l.message(slot, c, message, in.binary, in.deflated)
	}
	return end
}

// violate closes a connection that broke RFC 6455.
func (l *loop) violate(slot uint32, c *conn, err error) {
	code, reason := closeFor(err)
	l.giveUpOn(slot, c, code, reason)
}

// control handles a control frame (RFC 6455 §5.5).
func (l *loop) control(slot uint32, c *conn, op ws.OpCode, payload []byte) {
	switch {
	case c.state == closing && op != ws.OpClose:
	case op == ws.OpPong:
		l.pongs++
		if c.unanswered == 0 { // nobody asked
			l.over(slot, c, limitPings, 1, 0)
		}
		c.unanswered = 0
	case op == ws.OpPing:
		if !l.over(slot, c, limitPings, 1, 0) {
			l.pong(slot, c, payload)
		}
	case op == ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		if len(payload) > 0 {
			if err := ws.CheckCloseFrameData(code, reason); err != nil || len(payload) == 1 {
				l.giveUpOn(slot, c, wire.CloseProtocolError, "malformed close frame")
				return
			}
		}
		answer := wire.CloseNormal
		if len(payload) >= 2 {
			answer = wire.CloseCode(code)
		}
		l.shutBy(slot, c, answer)
	}
}

// pong answers a ping. A client whose socket is full gets the answer to its last ping only (RFC 6455 §5.5.3), so
// that pings can't pile up.
func (l *loop) pong(slot uint32, c *conn, payload []byte) {
	f := controlFrame(ws.OpPong, payload)
	f.pong = true
	if g := c.lag; g != nil {
		for i, q := range g.queue {
			if q.pong {
				g.queue[i] = f
				return
			}
		}
	}
	l.owe(slot, c, f)
}

// message handles one message of a client.
func (l *loop) message(slot uint32, c *conn, payload []byte, binary, deflated bool) {
	if c.state == closing {
		return
	}
	l.node.metrics.messagesIn.Inc()
	if binary {
		l.bad(slot, c, 0, &wire.Error{Code: wire.BadRequest, Message: "binary frames are not understood; send JSON in text frames"})
		return
	}
	if deflated {
		var err error
		switch payload, err = l.inflate.inflate(payload, l.node.cfg.Limits.MessageBytes); {
		case errors.Is(err, errInflatedTooBig):
			l.node.metrics.limited[limitMessageBytes].Inc()
			l.giveUpOn(slot, c, wire.CloseTooBig, "message too big")
			return
		case err != nil:
			l.giveUpOn(slot, c, wire.CloseProtocolError, "message that can't be inflated")
			return
		}
		l.share -= len(payload)
	}
	if !utf8.Valid(payload) {
		l.giveUpOn(slot, c, wire.CloseInvalidUTF8, "text that is not UTF-8")
		return
	}
	l.request(slot, c, payload)
}
