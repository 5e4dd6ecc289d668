package edge

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/gobwas/ws"

	"tidings/edge/auth"
	"tidings/edge/poll"
	"tidings/edge/wire"
)

// socketPath is where WebSockets are opened.
const socketPath = "/ws"

// upgrader answers upgrade requests from memory. A loop has one; what it holds is about the request at hand.
type upgrader struct {
	loop *loop
	ws   ws.Upgrader
	in   bytes.Reader
	out  bytes.Buffer

	request bufio.Reader // over in, for a second look

	trusted  bool // the request came by a proxy whose word about its client is taken
	host     string
	origin   string
	via      forwarded
	offered  bool // some subprotocol was
	accepted bool // and ours among them
	deflate  deflateOffer
}

func newUpgrader(l *loop) *upgrader {
	u := &upgrader{loop: l}
	u.ws = ws.Upgrader{
		OnHost: func(host []byte) error {
			u.host = string(host)
			return nil
		},
		OnHeader: func(key, value []byte) error {
			switch {
			case string(key) == "Origin" && u.origin == "":
				u.origin = string(value)
			case string(key) == "Origin":
				return errOrigin // of two, which one is it?
			case u.trusted:
				u.via.add(string(key), value)
			}
			return nil
		},
		Protocol: func(name []byte) bool {
			u.offered = true
			u.accepted = u.accepted || string(name) == wire.Subprotocol
			return string(name) == wire.Subprotocol
		},
		Negotiate: u.deflate.negotiate,
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if u.offered && !u.accepted {
				return nil, errProtocol
			}
			if host := u.via.host(); host != "" {
				u.host = host
			} else if u.origin != "" && u.loop.node.rebound(u.host) {
				return nil, errRebound
			}
			if !u.loop.node.origins.allow(u.origin, u.host) {
				return nil, errOrigin
			}
			return nil, nil
		},
	}
	return u
}

var (
	errProtocol = errors.New("unknown subprotocol")
	errOrigin   = errors.New("forbidden origin")
	errRebound  = errors.New("another name for this machine")
)

// Read and Write make an upgrader the connection that gobwas/ws upgrades.
func (u *upgrader) Read(b []byte) (int, error)  { return u.in.Read(b) }
func (u *upgrader) Write(b []byte) (int, error) { return u.out.Write(b) }

// greet handles the request that begins a connection and returns its length; 0: it is not complete, or the connection is
// no longer the loop's.
func (l *loop) greet(slot uint32, c *conn, data []byte) int {
	if c.turned {
		l.refuse(slot, c, *c.input.refusal)
		return 0
	}
	if !c.announced {
		if n, ok := l.announced(slot, c, data); n > 0 || !ok {
			return n
		}
	}
	limits := &l.node.cfg.Limits
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 && len(data) <= limits.HeaderBytes {
		return 0
	}
	if end < 0 || end > limits.HeaderBytes || bytes.Count(data[:end], []byte("\r\n")) > limits.Headers {
		which := limitHeaders
		if end < 0 || end > limits.HeaderBytes {
			which = limitHeaderBytes
		}
		l.node.metrics.limited[which].Inc()
		l.refuse(slot, c, refusal{status: http.StatusRequestHeaderFieldsTooLarge, code: wire.BadRequest, result: handshakeBad,
			message: "too many or too long headers: at most " + strconv.Itoa(limits.Headers) + " with " + strconv.Itoa(limits.HeaderBytes) + " bytes in all"})
		return 0
	}
	head := data[:end+4]
	if l.draining { // the HTTP server takes nothing any more either
		l.refuse(slot, c, refusalDraining)
		return 0
	}
	if !isUpgrade(head) {
		l.handOver(slot, c, data)
		return 0
	}
	u := l.upgrade
	u.trusted = l.node.proxies.trust(c.client)
	u.host, u.origin, u.via, u.offered, u.accepted = "", "", forwarded{}, false, false
	u.deflate.reset()
	u.in.Reset(head)
	u.out.Reset()
	if _, err := u.ws.Upgrade(u); err != nil {
		l.refuse(slot, c, u.refusal(err))
		return 0
	}
	if u.trusted {
		client := l.node.proxies.client(c.client, u.via.clients)
		if r := l.node.door.admit(client, l.now); r != nil {
			l.refuse(slot, c, *r)
			return 0
		}
		c.client = client
	}
	switch {
	case c.session != nil:
	case l.node.desk == nil:
		c.session = l.node.anyone
	default:
		l.identify(slot, c, head)
		return len(head)
	}
	l.welcome(slot, c, u.out.Bytes(), u.deflate.accepted())
	return len(head)
}

// identify has the token of an upgrade request verified that is in order otherwise. Until that is done, nothing of its connection is
// looked at.
func (l *loop) identify(slot uint32, c *conn, head []byte) {
	u := l.upgrade
	u.in.Reset(head)
	u.request.Reset(&u.in)
	r, err := http.ReadRequest(&u.request)
	if err != nil {
		l.refuse(slot, c, refusal{status: http.StatusBadRequest, code: wire.BadRequest, result: handshakeBad, message: "malformed request"})
		return
	}
	token, err := l.node.tokenOf(r, u.host)
	if err != nil {
		l.node.metrics.tokens[judge(err)].Inc()
		l.refuse(slot, c, l.node.cfg.tokenRefusal(err))
		return
	}
	p := &pending{conn: ref{slot, c.gen}, since: l.now}
	c.pending = p
	response, deflate := bytes.Clone(u.out.Bytes()), u.deflate.accepted()
	l.verify(p, token, func(l *loop, s *auth.Session, err error) {
		switch {
		case err != nil:
			l.refuse(slot, c, l.node.cfg.tokenRefusal(err))
		case l.draining:
			l.refuse(slot, c, refusalDraining)
		default:
			if r := l.node.door.admitUser(s.Subject, l.now); r != nil {
				l.refuse(slot, c, *r)
				return
			}
			c.session = &session{Session: s, counted: true}
			if l.node.cfg.Actor != nil {
				c.session.token = token
			}
			l.welcome(slot, c, response, deflate)
			l.hear(slot, c)
		}
	})
}

// verify has a token verified for the pending request of a connection. What came of it is for answer, unless the connection has
// ended meanwhile.
func (l *loop) verify(p *pending, token string, answer func(*loop, *auth.Session, error)) {
	p.token = l.node.desk.verify(token, func(s *auth.Session, err error) {
		l.post(func(l *loop) {
			if !p.over {
				l.finish(l.conns.at(p.conn.slot))
				answer(l, s, err)
			}
		})
	})
}

// welcome makes a connection a WebSocket: the response and the first message leave in one write.
func (l *loop) welcome(slot uint32, c *conn, response []byte, deflate bool) {
	if c.deflate = deflate; deflate {
		l.node.hub.deflating.Add(1)
	}
	cfg := &l.node.cfg
	name := strconv.FormatUint(rand.Uint64(), 16)
	if c.session.token != "" {
		c.session.name = name
	}
	l.text = wire.AppendConnected(l.text[:0], wire.Connected{
		Timestamp: l.now.UnixMilli(),
		Payload: wire.ConnectedPayload{
			Connection:  name,
			Node:        cfg.Node,
			Epoch:       l.epoch,
			HeartbeatMS: cfg.Heartbeat.Milliseconds(),
			Expires:     c.session.expires(),
			Limits:      wire.Limits{Subscriptions: cfg.Limits.Subscriptions, MessageBytes: cfg.Limits.MessageBytes},
		},
	})
	first := newFrame(l.text).wire
	l.owe(slot, c, &frame{wire: append(append(make([]byte, 0, len(response)+len(first)), response...), first...)})
	c.state, c.upgraded = serving, true
	l.node.metrics.open.Inc()
	l.node.metrics.handshakes[handshakeOK].Inc()
	if l.degraded {
		l.tell(slot, c, wire.AppendStatus(l.text[:0], l.now.UnixMilli(), true, l.since.UnixMilli()))
	}
	if age := cfg.MaxAge; age > 0 { // give or take a tenth, so that those who came together don't leave together
		l.timers.add(l.now.Add(age*9/10+rand.N(age/5)), timer{slot: slot, gen: c.gen, kind: leaveTimer})
	}
	l.beat(slot, c, 0)
	l.plan(slot, c)
}

func (u *upgrader) refusal(err error) refusal {
	bad := refusal{status: http.StatusBadRequest, code: wire.BadRequest, result: handshakeBad}
	switch {
	case errors.Is(err, errProtocol):
		bad.message = "offer the subprotocol " + wire.Subprotocol + ", or none"
	case errors.Is(err, errOrigin):
		return refusal{status: http.StatusForbidden, code: wire.ForbiddenOrigin, result: handshakeOrigin,
			message: originAdvice}
	case errors.Is(err, errRebound):
		return refusal{status: http.StatusForbidden, code: wire.ForbiddenOrigin, result: handshakeOrigin,
			message: reboundAdvice}
	case errors.Is(err, ws.ErrHandshakeUpgradeRequired):
		return refusal{status: http.StatusUpgradeRequired, code: wire.UpgradeRequired, result: handshakeBad,
			message: "only version 13 of the WebSocket protocol is spoken", headers: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"}
	case errors.Is(err, ws.ErrHandshakeBadMethod):
		bad.message = "a WebSocket is opened with GET"
	case errors.Is(err, ws.ErrHandshakeBadConnection):
		bad.message = "the header Connection: Upgrade is missing; a proxy on the way may have taken it out"
	case errors.Is(err, ws.ErrHandshakeBadSecKey):
		bad.message = "the header Sec-WebSocket-Key has to be 16 bytes in base64"
	case errors.Is(err, ws.ErrHandshakeBadSecVersion):
		bad.message = "the header Sec-WebSocket-Version: 13 is missing"
	case errors.Is(err, ws.ErrHandshakeBadHost):
		bad.message = "the header Host is missing"
	default:
		bad.message = "not a well-formed WebSocket handshake"
	}
	return bad
}

// isUpgrade reports whether a request asks for a WebSocket where there are some.
func isUpgrade(head []byte) bool {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	if string(path) != socketPath {
		return false
	}
	const name = "upgrade:"
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.EqualFold(bytes.TrimSpace(line[len(name):]), []byte("websocket"))
		}
	}
	return false
}

// handOver gives a connection whose request is no upgrade to the HTTP server, with the bytes that were read.
func (l *loop) handOver(slot uint32, c *conn, data []byte) {
	client := c.client
	conn, err := l.poller.Detach(c.sock)
	l.conns.put(slot)
	if err != nil {
		l.node.left(client)
		l.log.Error("hand a request to the HTTP server", "error", err)
		return
	}
	l.node.metrics.handshakes[handshakeHTTP].Inc()
	l.node.web.take(poll.Ahead(conn, data), client, func() { l.node.left(client) })
}
