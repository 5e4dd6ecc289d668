package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// client is one connection that reads. It belongs to a crowd.
type client struct {
	sock   poll.Socket
	left   []byte   // of a frame that is not complete
	first  int      // its first topic; the others follow
	last   []uint64 // place of the newest message of each of its topics
	closed bool
}

// dialer opens clients. Any number of goroutines may use it at once.
type dialer struct {
	cfg    Config
	topics topics
}

// dialTimeout is how long one client may take to connect and subscribe.
const dialTimeout = 30 * time.Second

// slowBuffer is the receive buffer, in bytes, of a client that does not read: what it does not take has to be
// the edge's matter, not this kernel's.
const slowBuffer = 4 << 10

// open connects the i-th client and returns when it is subscribed, with what came after that.
func (d *dialer) open(ctx context.Context, i int) (conn net.Conn, left []byte, err error) {
	u, err := url.Parse(d.cfg.URLs[i%len(d.cfg.URLs)])
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if conn, err = d.dial(ctx, hostPort(u), i); err != nil {
		return nil, nil, fmt.Errorf("%w at %s: %w", ErrNoEdge, u.Redacted(), err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if u.Scheme == "wss" {
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname()})
	}
	if left, err = d.upgrade(conn, u); err == nil && !d.cfg.Floor {
		left, err = d.subscribe(conn, left, i)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return conn, left, err
}

// dial opens the i-th client's TCP connection.
func (d *dialer) dial(ctx context.Context, address string, i int) (net.Conn, error) {
	options := poll.DialOptions{}
	if d.cfg.slow(i) {
		options.ReceiveBuffer = slowBuffer
	}
	conn, err := poll.Dial(ctx, address, options)
	if noPorts(err) && runtime.GOOS == "linux" && strings.HasPrefix(address, "127.") {
		// All of 127.0.0.0/8 is this machine, and each address has ports of its own.
		options.Local = netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i%200)})
		conn, err = poll.Dial(ctx, address, options)
	}
	if noPorts(err) {
		err = fmt.Errorf("%w: this machine has no ports left towards the edge; widen net.ipv4.ip_local_port_range, or take fewer clients", err)
	}
	return conn, err
}

// noPorts says whether every port towards one address is taken, or was until a minute ago.
func noPorts(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// hostPort is where to connect to.
func hostPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "wss":
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// upgrade makes a connection a WebSocket, and returns what came behind the answer.
func (d *dialer) upgrade(conn net.Conn, u *url.URL) (left []byte, err error) {
	var refused error
	handshake := ws.Dialer{
		Protocols:     []string{wire.Subprotocol},
		OnStatusError: func(status int, _ []byte, answer io.Reader) { refused = refusal(status, answer) },
	}
	if d.cfg.Token != "" {
		handshake.Header = ws.HandshakeHeaderHTTP{"Authorization": {"Bearer " + d.cfg.Token}}
	}
	if d.cfg.Deflate {
		offer := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
		handshake.Extensions = []httphead.Option{offer.Option()}
	}
	ahead, answer, err := handshake.Upgrade(conn, u)
	switch {
	case refused != nil:
		return nil, refused
	case err != nil:
		return nil, fmt.Errorf("handshake: %w", err)
	case answer.Protocol != wire.Subprotocol && !d.cfg.Floor:
		return nil, fmt.Errorf("handshake: that server does not speak %s; is --url that of an edge?", wire.Subprotocol)
	case d.cfg.Deflate && len(answer.Extensions) == 0:
		return nil, errors.New("handshake: the edge declines permessage-deflate")
	}
	if ahead != nil {
		left, err = io.ReadAll(io.LimitReader(ahead, int64(ahead.Buffered())))
		ws.PutReader(ahead)
	}
	return left, err
}

// refusal is what an edge says when it does not take a connection (PROTOCOL §2).
func refusal(status int, answer io.Reader) error {
	said := struct{ Code, Message string }{Code: http.StatusText(status), Message: "that is no answer of an edge; is --url right?"}
	if response, err := http.ReadResponse(bufio.NewReader(answer), nil); err == nil {
		body := io.LimitReader(response.Body, 4096)
		_ = json.NewDecoder(body).Decode(&said) // what cannot be read stays as above
		response.Body.Close()
	}
	return fmt.Errorf("refused with %d %s: %s", status, said.Code, said.Message)
}

// subscribe asks for the i-th client's topics and waits for the ack. It returns what came behind that.
func (d *dialer) subscribe(conn net.Conn, left []byte, i int) ([]byte, error) {
	request := wire.Request{Type: wire.Subscribe, ID: 1}
	for k := range d.cfg.Subscriptions {
		name := d.topics.name((d.cfg.firstTopic(i) + k) % d.cfg.Topics)
		request.Topics = append(request.Topics, wire.Want{Topic: name, Snapshot: true})
	}
	return ask(conn, left, request)
}

// ask sends a request and waits for its ack. It takes what came before, and returns what came behind it.
func ask(conn net.Conn, left []byte, request wire.Request) ([]byte, error) {
	if _, err := conn.Write(masked(ws.OpText, wire.AppendRequest(nil, request))); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	buffer := append(make([]byte, 0, 4096), left...)
	for rest := buffer; ; {
		f, behind, err := split(rest)
		if errors.Is(err, errIncomplete) {
			buffer = append(buffer[:0], rest...)
			if buffer, err = readMore(conn, buffer); err != nil {
				return nil, fmt.Errorf("subscribe: %w", err)
			}
			rest = buffer
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		rest = behind
		if done, err := answered(f, request.ID); done || err != nil {
			return bytes.Clone(rest), err
		}
	}
}

// readMore appends what one read brings.
func readMore(conn net.Conn, b []byte) ([]byte, error) {
	if len(b) == cap(b) {
		b = append(b, make([]byte, len(b)+1)...)[:len(b)]
	}
	n, err := conn.Read(b[len(b):cap(b)])
	return b[:len(b)+n], err
}

// answered says whether a frame is the ack of a request, or what else ends the waiting for it.
func answered(f serverFrame, id uint64) (bool, error) {
	switch {
	case f.op == ws.OpClose:
		return false, fmt.Errorf("subscribe: the edge closed the connection: %s", closeReason(f.payload))
	case f.op != ws.OpText || f.packed:
		return false, nil
	}
	m, err := wire.ParseMessage(f.payload)
	if err != nil {
		return false, fmt.Errorf("subscribe: %w", err)
	}
	if m.ID != id {
		return false, nil
	}
	if wire.MessageType(m.Type) == wire.TypeError {
		var payload wire.ErrorPayload
		_ = json.Unmarshal(m.Payload, &payload) // what cannot be read stays empty
		return false, fmt.Errorf("subscribe: %s: %s", payload.Code, payload.Message)
	}
	return wire.MessageType(m.Type) == wire.TypeAck, nil
}

// closeReason is what a close frame says (RFC 6455 §5.5.1).
func closeReason(payload []byte) string {
	code, reason := ws.ParseCloseFrameData(payload)
	if reason == "" {
		return strconv.Itoa(int(code))
	}
	return fmt.Sprintf("%d %s", code, reason)
}

// topics are those of one run, numbered from 0. No other run has the same.
type topics string // what they begin with, as in "bench.k3f9."

func (t topics) name(i int) string { return string(t) + strconv.Itoa(i) }
