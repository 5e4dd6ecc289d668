package edge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gobwas/ws"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// events serves a stream of server-sent events (PROTOCOL §8). It is a client of this very edge behind a pipe, which turns
// messages into events: the loops know only one kind of connection, and a slow reader is treated as any other. It costs
// three goroutines and some 80 KB; who has many clients gives them WebSockets.
func (e *Edge) events(w http.ResponseWriter, r *http.Request) {
	who, list, ok := e.asked(w, r)
	if !ok {
		return
	}
	since := r.Header.Get("Last-Event-ID")
	if since == "" {
		since = r.URL.Query().Get("since")
	}
	request := wire.Request{Type: wire.Subscribe, ID: 1}
	for _, p := range list {
		want := wire.Want{Topic: string(p), Snapshot: true}
		if since != "" {
			at, err := wire.ParsePosition(since)
			if err != nil {
				refuseHTTP(w, wire.BadRequest, "since: "+err.Error())
				return
			}
			want.Since = &at
		}
		request.Topics = append(request.Topics, want)
	}
	end, refused := e.beginStream(r, who.Subject)
	if refused != nil {
		refused.to(w)
		return
	}
	defer end()
	near, far := net.Pipe()
	defer near.Close()
	l := e.loops[int(e.connections.Load())%len(e.loops)]
	l.post(func(l *loop) { l.take(poll.FromConn(far), who, true) })
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the pipe ends with the request
		select {
		case <-r.Context().Done():
			near.Close()
		case <-stop:
		}
	}()
	s := &eventStream{w: w, rc: http.NewResponseController(w), near: near, in: bufio.NewReader(near)}
	if err := s.open(wire.AppendRequest(nil, request)); err != nil {
		refuseHTTP(w, wire.Unavailable, "this node can't open a stream right now; ask again in a moment")
		return
	}
	s.copy()
}

// beginStream finds a place for a stream of events; end gives it back. The connection to the loop counts as one of the edge's, and is
// counted out by that. A client that came directly was counted when it connected; one that a proxy forwards is now.
func (e *Edge) beginStream(r *http.Request, sub string) (end func(), refused *refusal) {
	if e.streams.Add(1) > int64(e.cfg.Limits.EventStreams) {
		e.streams.Add(-1)
		e.metrics.limited[limitEventStreams].Inc()
		return nil, &refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, headers: retryAfter(placeWait),
			message: "this node has no place for another stream of events; try again in a moment or elsewhere, or open a WebSocket"}
	}
	client, _ := e.proxies.sender(r)
	direct := e.proxies.peer(r) == client
	if !direct {
		refused = e.door.count(client, time.Now())
	}
	if refused != nil {
		e.streams.Add(-1)
		return nil, refused
	}
	left := func() {
		e.streams.Add(-1)
		if !direct {
			e.door.leave(client)
		}
	}
	if refused = e.door.admitUser(sub, time.Now()); refused != nil {
		left()
		return nil, refused
	}
	end = func() {
		left()
		e.door.leaveUser(sub)
	}
	if refused = e.hold(); refused != nil {
		end()
		return nil, refused
	}
	return end, nil
}

// eventStream is one stream of events.
type eventStream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	near  net.Conn
	in    *bufio.Reader
	epoch string
	buf   bytes.Buffer
}

// writeWait is how long a reader of events may take to take some, and that of any other answer to take it all.
const writeWait = 30 * time.Second

// open connects and subscribes.
func (s *eventStream) open(subscribe []byte) error {
	_ = s.near.SetDeadline(time.Now().Add(pendingTimeout))
	d := ws.Dialer{Protocols: []string{wire.Subprotocol}}
	br, _, err := d.Upgrade(s.near, eventsURL)
	if err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	if br != nil {
		s.in = br
	}
	if err := ws.WriteFrame(s.near, ws.MaskFrameInPlace(ws.NewTextFrame(subscribe))); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return s.near.SetDeadline(time.Time{})
}

var eventsURL = &url.URL{Scheme: "ws", Host: "localhost", Path: socketPath}

// copy turns messages into events until one side ends.
func (s *eventStream) copy() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	for {
		h, err := ws.ReadHeader(s.in) // of our own edge, which bounds its messages
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s.in, payload); err != nil {
			return
		}
		s.buf.Reset()
		switch h.OpCode {
		case ws.OpPing:
			if ws.WriteFrame(s.near, ws.MaskFrameInPlace(ws.NewPongFrame(payload))) != nil {
				return
			}
			continue
		case ws.OpText:
			if !s.event(payload) {
				return
			}
		default:
			return
		}
		_ = s.rc.SetWriteDeadline(time.Now().Add(writeWait))
		if _, err := s.w.Write(s.buf.Bytes()); err != nil {
			return
		}
		if s.in.Buffered() == 0 && s.rc.Flush() != nil {
			return
		}
	}
}

// event writes one message as an event. False: the stream is over.
func (s *eventStream) event(text []byte) bool {
	m, err := wire.ParseMessage(text)
	if err != nil {
		return false
	}
	switch wire.MessageType(m.Type) {
	case wire.TypeConnected:
		s.buf.WriteString(": connected\n\n")
		return true
	case wire.TypeHeartbeat:
		s.buf.WriteString(": heartbeat\n\n")
		return true
	case wire.TypeAck:
		var ack wire.AckPayload
		if json.Unmarshal(m.Payload, &ack) == nil && len(ack.Topics) > 0 {
			s.epoch = ack.Topics[0].Epoch
		}
	}
	if m.Seq != 0 {
		fmt.Fprintf(&s.buf, "id: %s\n", wire.Position{Epoch: s.epoch, Seq: m.Seq})
	}
	fmt.Fprintf(&s.buf, "event: %s\ndata: ", m.Type)
	for _, b := range text { // white space in a payload; in a string it would be escaped
		if b == '\n' || b == '\r' {
			b = ' '
		}
		s.buf.WriteByte(b)
	}
	s.buf.WriteString("\n\n")
	return wire.MessageType(m.Type) != wire.TypeError
}
