package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"tidings/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// scene is a stage on which a test plays the edge, line by line.
type scene struct {
	t       testing.TB
	server  *httptest.Server
	arrived chan *actor
	refuse  chan http.HandlerFunc // answers instead of an upgrade, first come first served
	deaf    bool                  // nobody reads what clients say, not even that they leave
}

func newScene(t testing.TB) *scene {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newSceneAt(t, l)
}

func newSceneAt(t testing.TB, l net.Listener) *scene {
	s := &scene{t: t, arrived: make(chan *actor, 8), refuse: make(chan http.HandlerFunc, 8)}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case refuse := <-s.refuse:
			refuse(w, r)
			return
		default:
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		a := &actor{t: t, conn: conn, handshake: r, heard: make(chan wire.Request, 64), over: make(chan struct{})}
		s.arrived <- a
		if !s.deaf {
			a.listen()
		}
	}))
	_ = s.server.Listener.Close()
	s.server.Listener = l
	s.server.Start()
	t.Cleanup(s.server.Close)
	return s
}

// enter waits for a connection and greets it.
func (s *scene) enter() *actor {
	s.t.Helper()
	a := s.enterSilently()
	a.greet(wire.ConnectedPayload{Node: "edge-0", Epoch: "e1", HeartbeatMS: 25000})
	return a
}

func (s *scene) enterSilently() *actor {
	s.t.Helper()
	select {
	case a := <-s.arrived:
		s.t.Cleanup(func() { a.conn.CloseNow() })
		return a
	case <-time.After(patience):
		s.t.Fatal("nobody connected")
		return nil
	}
}

// actor is the edge's side of one connection.
type actor struct {
	t         testing.TB
	conn      *websocket.Conn
	handshake *http.Request
	heard     chan wire.Request
	over      chan struct{} // closed when the client's side has ended
	err       error         // with what; after over
}

func (a *actor) listen() {
	defer close(a.over)
	for {
		_, text, err := a.conn.Read(context.Background())
		if err != nil {
			a.err = err
			return
		}
		r, refused := wire.ParseRequest(text)
		if refused != nil {
			a.t.Errorf("the client said %s: %v", text, refused)
		}
		a.heard <- r
	}
}

func (a *actor) greet(p wire.ConnectedPayload) {
	a.t.Helper()
	a.say(wire.AppendConnected(nil, wire.Connected{Timestamp: 1, Payload: p}))
}

// hear waits for a request, which must read as want: the type, and what it wants of each topic.
func (a *actor) hear(want string) wire.Request {
	a.t.Helper()
	select {
	case r := <-a.heard:
		if got := describe(r); got != want {
			a.t.Fatalf("heard  %s\nwanted %s", got, want)
		}
		return r
	case <-a.over:
		a.t.Fatalf("the client left: %v; wanted %s", a.err, want)
	case <-time.After(patience):
		a.t.Fatalf("heard nothing; wanted %s", want)
	}
	return wire.Request{}
}

func describe(r wire.Request) string {
	var b strings.Builder
	b.WriteString(string(r.Type))
	for _, w := range r.Topics {
		b.WriteString(" " + w.Topic)
		if w.Since != nil {
			b.WriteString(" since=" + w.Since.String())
		}
		if w.Last != 0 {
			fmt.Fprintf(&b, " last=%d", w.Last)
		}
		if !w.Snapshot {
			b.WriteString(" live")
		}
		if w.Interval != 0 {
			b.WriteString(" interval=" + w.Interval.String())
		}
	}
	return b.String()
}

func (a *actor) say(text []byte) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.conn.Write(ctx, websocket.MessageText, text); err != nil {
		a.t.Fatalf("say %s: %v", text, err)
	}
}

// ack acks r, all of its topics at seq of epoch e1.
func (a *actor) ack(r wire.Request, seq uint64, recovered ...bool) {
	a.t.Helper()
	a.ackEpoch(r, "e1", seq, recovered...)
}

func (a *actor) ackEpoch(r wire.Request, epoch string, seq uint64, recovered ...bool) {
	a.t.Helper()
	var topics []wire.AckTopic
	for _, w := range r.Topics {
		t := wire.AckTopic{Topic: w.Topic, Epoch: epoch, Seq: seq}
		if w.Since != nil {
			t.Recovered = new(len(recovered) > 0 && recovered[0])
		}
		topics = append(topics, t)
	}
	a.say(wire.AppendAck(nil, r.ID, 1, topics))
}

// data says a message that was taken at the millisecond of its seq.
func (a *actor) data(topic string, seq, prev uint64) {
	a.t.Helper()
	a.dataAt(int64(seq), topic, seq, prev)
}

func (a *actor) dataAt(time int64, topic string, seq, prev uint64) {
	a.t.Helper()
	a.say(wire.AppendData(nil, wire.Data{Topic: topic, Seq: seq, Prev: prev, Time: time, Payload: []byte(`{}`)}))
}

func (a *actor) heartbeats(n int) {
	a.t.Helper()
	for range n {
		a.say(wire.AppendHeartbeat(nil, 1))
	}
}

// leaves waits until the client has closed the connection by choice.
func (a *actor) leaves() {
	a.t.Helper()
	select {
	case <-a.over:
		if got := websocket.CloseStatus(a.err); got != websocket.StatusNormalClosure {
			a.t.Fatalf("the client left with %v, want 1000", a.err)
		}
	case <-time.After(patience):
		a.t.Fatal("the client stays")
	}
}

// drop breaks the connection.
func (a *actor) drop() { a.conn.CloseNow() }

func (a *actor) close(code wire.CloseCode, reason string) {
	_ = a.conn.Close(websocket.StatusCode(code), reason)
}

// audience is a running client, and what its handler was told, a line each.
type audience struct {
	*Client
	t     testing.TB
	told  chan string
	ended chan error // of Run
	stop  context.CancelFunc
}

// watch runs a client against s; the test fails unless Run ends when the test does.
func watch(t testing.TB, s *scene, cfg Config, patterns ...string) *audience {
	t.Helper()
	w := prepare(t, s, cfg)
	for _, p := range patterns {
		if err := w.Subscribe(p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	return w
}

func prepare(t testing.TB, s *scene, cfg Config) *audience {
	t.Helper()
	w := &audience{t: t, told: make(chan string, 1024), ended: make(chan error, 1)}
	cfg.URL = s.server.URL + "/ws"
	if cfg.BackoffBase == 0 {
		cfg.BackoffBase, cfg.BackoffCap = time.Millisecond, 5*time.Millisecond
	}
	tell := func(format string, args ...any) { w.told <- fmt.Sprintf(format, args...) }
	h := &cfg.Handler
	if h.Message == nil {
		h.Message = func(m Message) {
			line := fmt.Sprintf("%s %d", m.Topic, m.Seq)
			if m.Gone {
				line += " gone"
			}
			if m.Missed {
				line += " missed"
			}
			tell("%s", line)
		}
	}
	h.Gap = func(g Gap) { tell("gap %s %d-%d %s", g.Topic, g.After, g.Before, g.Reason) }
	h.Subscribed = func(s Subscribed) {
		how := ""
		if s.Resumed {
			how = fmt.Sprintf(" recovered=%t", s.Recovered)
		}
		tell("subscribed %s at %s%s", s.Pattern, s.Position, how)
	}
	h.Refused = func(pattern string, err *wire.Error) { tell("refused %q %v", pattern, err) }
	h.Status = func(s wire.StatusPayload) { tell("status %s", s.Upstream) }
	h.Connected = func(p wire.ConnectedPayload) { tell("connected to %s", p.Node) }
	h.Disconnected = func(err error, retry time.Duration) {
		var closed *ClosedError
		if errors.As(err, &closed) {
			tell("disconnected %s", closed.Code)
			return
		}
		tell("disconnected")
	}
	var err error
	if w.Client, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *audience) run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended <- w.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			w.t.Error("Run does not end")
		}
	})
}

// hears waits for what the handler is told next, line by line.
func (w *audience) hears(lines ...string) {
	w.t.Helper()
	for _, want := range lines {
		select {
		case got := <-w.told:
			if got != want {
				w.t.Fatalf("the handler was told %q, want %q", got, want)
			}
		case err := <-w.ended:
			w.t.Fatalf("Run ended with %v, want %q", err, want)
		case <-time.After(patience):
			w.t.Fatalf("the handler was told nothing, want %q", want)
		}
	}
}

// ends waits for Run.
func (w *audience) ends() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(patience):
		w.t.Fatal("Run does not end")
		return nil
	}
}
