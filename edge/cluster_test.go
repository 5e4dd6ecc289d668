package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge"
	"tidings/edge/wire"
)

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// cluster is a NATS with one line to it for publishing.
type cluster struct {
	t     testing.TB
	nats  *bustest.Server
	bus   *bus.Conn
	edges int
	lines []func(*bus.Config) // how every line of it is configured

	monitor *http.Client // of NATS' monitoring
}

func newCluster(t testing.TB, change ...func(*bus.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, nats: bustest.New(t), lines: change}
	c.bus = c.nats.Connect(t, change...)
	return c
}

// publish waits for the stream's ack and returns the place of the message.
func (c *cluster) publish(topic, payload string) uint64 {
	c.t.Helper()
	return c.publishWith(topic, payload, bus.PublishOptions{})
}

func (c *cluster) publishWith(topic, payload string, o bus.PublishOptions) uint64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seq, err := c.bus.Publish(ctx, mustTopic(c.t, topic), []byte(payload), o)
	if err != nil {
		c.t.Fatalf("publish %s: %v", topic, err)
	}
	return seq
}

// burst publishes n messages of a topic, {"n":first} and up, many at a time, and returns the place of the last one.
func (c *cluster) burst(topic string, first, n int) uint64 {
	c.t.Helper()
	line := c.line()
	defer line.Close()
	js, err := line.JetStream(nats.PublishAsyncMaxPending(256))
	if err != nil {
		c.t.Fatal(err)
	}
	var last nats.PubAckFuture
	for i := range n {
		if last, err = js.PublishAsync("tidings.pub."+topic, fmt.Appendf(nil, `{"n":%d}`, first+i), nats.StallWait(patience)); err != nil {
			c.t.Fatalf("publish %s: %v", topic, err)
		}
	}
	select {
	case ack := <-last.Ok():
		return ack.Sequence
	case err := <-last.Err():
		c.t.Fatalf("publish %s: %v", topic, err)
	case <-time.After(patience):
		c.t.Fatalf("publish %s: no ack", topic)
	}
	return 0
}

// line is a connection to NATS that none of our code made.
func (c *cluster) line() *nats.Conn {
	c.t.Helper()
	nc, err := nats.Connect(c.nats.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// raw publishes bytes on a subject as any NATS client may, and waits until NATS has them.
func (c *cluster) raw(subject, payload string, header nats.Header) {
	c.t.Helper()
	nc := c.line()
	defer nc.Close()
	if err := nc.PublishMsg(&nats.Msg{Subject: subject, Data: []byte(payload), Header: header}); err != nil {
		c.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// epoch is that of the stream.
func (c *cluster) epoch() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := c.bus.StreamState(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return s.Epoch
}

// node is a running edge.
type node struct {
	*edge.Edge
	t       testing.TB
	cluster *cluster
	metrics *prometheus.Registry
	host    string
	line    string // name of its line to NATS
	end     context.CancelFunc
	over    chan struct{} // closed when Run has returned
	err     error         // with what; after over
}

// edge starts an edge with a line of its own, and stops it when the test ends.
func (c *cluster) edge(change ...func(*edge.Config)) *node {
	c.t.Helper()
	c.edges++
	name := fmt.Sprintf("edge-%d", c.edges)
	line := c.nats.Connect(c.t, append(c.lines, func(cfg *bus.Config) { cfg.Name = name })...)
	n := startEdge(c.t, c, line, change...)
	n.line = name
	return n
}

func startEdge(t testing.TB, c *cluster, b *bus.Conn, change ...func(*edge.Config)) *node {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	cfg := edge.Config{
		Listen: "127.0.0.1:0", Node: "edge-0", Bus: b,
		DrainGrace: time.Millisecond, DrainWindow: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&logWriter{t: t}, nil)), Registerer: registry,
	}
	for _, f := range change {
		f(&cfg)
	}
	e, err := edge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Edge: e, t: t, cluster: c, metrics: registry, host: e.Addr().String(), end: cancel, over: make(chan struct{})}
	go func() {
		defer close(n.over)
		n.err = e.Run(ctx)
	}()
	t.Cleanup(func() {
		n.stop()
		if n.err != nil {
			t.Errorf("edge: %v", n.err)
		}
	})
	return n
}

// logWriter shows an edge's log where its test fails.
type logWriter struct {
	t  testing.TB
	mu sync.Mutex
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// stop ends the edge and waits for it.
func (n *node) stop() {
	n.end()
	select {
	case <-n.over:
	case <-time.After(patience):
		n.t.Fatal("the edge does not stop")
	}
}

// value is that of a metric, over all of its labels or of those given as name, value, ….
func (n *node) value(name string, labels ...string) float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range f.Metric {
			found := 0
			for _, l := range m.Label {
				for i := 0; i < len(labels); i += 2 {
					if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
						found += 2
					}
				}
			}
			if found == len(labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return sum
	}
	n.t.Fatalf("there is no metric %s", name)
	return 0
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// client is a WebSocket client that none of our code wrote. A goroutine reads what comes.
type client struct {
	t        testing.TB
	conn     *websocket.Conn
	messages chan message
	gone     chan struct{} // closed when the test is over: nobody takes messages any more
	over     chan struct{} // closed when the connection has ended
	err      error         // with what; after over
	id       uint64
	greeting message
}

// message is one message of the server, as it came and as it reads.
type message struct {
	wire.Message
	text string
}

// dial connects and takes the greeting.
func (n *node) dial(change ...func(*websocket.DialOptions)) *client {
	n.t.Helper()
	c := n.dialQuietly(change...)
	c.greeting = c.next()
	if c.greeting.Type != "connected" {
		n.t.Fatalf("the first message is %s", c.greeting.text)
	}
	return c
}

func (n *node) dialQuietly(change ...func(*websocket.DialOptions)) *client {
	n.t.Helper()
	o := &websocket.DialOptions{Subprotocols: []string{wire.Subprotocol}}
	for _, f := range change {
		f(o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+n.host+"/ws", o)
	if err != nil {
		n.t.Fatalf("dial: %v", err)
	}
	conn.SetReadLimit(16 << 20)
	c := &client{t: n.t, conn: conn, messages: make(chan message, 1<<16), gone: make(chan struct{}), over: make(chan struct{})}
	go c.read()
	n.t.Cleanup(func() {
		close(c.gone)
		conn.CloseNow()
		<-c.over
	})
	return c
}

func (c *client) read() {
	defer close(c.over)
	for {
		kind, text, err := c.conn.Read(context.Background())
		if err != nil {
			c.err = err
			return
		}
		m, err := wire.ParseMessage(text)
		if err != nil || kind != websocket.MessageText || !json.Valid(text) {
			c.t.Errorf("the edge sent %s: %v", text, err)
		}
		select {
		case c.messages <- message{m, string(text)}:
		case <-c.gone:
			return
		}
	}
}

// next waits for a message.
func (c *client) next() message {
	c.t.Helper()
	select {
	case m := <-c.messages:
		return m
	default:
	}
	select {
	case m := <-c.messages:
		return m
	case <-c.over:
		select {
		case m := <-c.messages:
			return m
		default:
		}
		c.t.Fatalf("the connection ended: %v", c.err)
	case <-time.After(patience):
		c.t.Fatal("no message came")
	}
	return message{}
}

var timestamp = regexp.MustCompile(`"timestamp":1[0-9]{12}\b`)

// letter is a message's text with its time, which must be there, taken out.
func (m message) letter() string { return timestamp.ReplaceAllString(m.text, `"timestamp":T`) }

// expect waits for messages which, but for their times, read to the letter as wanted.
func (c *client) expect(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		if got := c.next().letter(); got != want {
			c.t.Fatalf("got    %s\nwanted %s", got, want)
		}
	}
}

// data waits for messages that must be those, in order, written topic@seq.
func (c *client) data(wanted ...string) {
	c.t.Helper()
	for _, want := range wanted {
		m := c.next()
		if got := fmt.Sprintf("%s@%d", m.Topic, m.Seq); !m.IsData() || got != want {
			c.t.Fatalf("got    %s\nwanted %s", m.text, want)
		}
	}
}

// at writes a place on a topic as data takes it.
func at(topic string, seq uint64) string { return fmt.Sprintf("%s@%d", topic, seq) }

// say sends one text message.
func (c *client) say(format string, args ...any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("say %s: %v", text, err)
	}
}

// subscribe asks for topics, strings or JSON objects, and takes the ack, which must come next.
func (c *client) subscribe(topics ...string) []wire.AckTopic {
	c.t.Helper()
	c.id++
	list := make([]string, len(topics))
	for i, topic := range topics {
		if list[i] = topic; !strings.HasPrefix(topic, "{") {
			list[i] = `"` + topic + `"`
		}
	}
	c.say(`{"type":"subscribe","id":%d,"topics":[%s]}`, c.id, strings.Join(list, ","))
	return c.acked(c.id)
}

func (c *client) acked(id uint64) []wire.AckTopic {
	c.t.Helper()
	m := c.next()
	var p wire.AckPayload
	if m.Type != "ack" || m.ID != id {
		c.t.Fatalf("got    %s\nwanted the ack of %d", m.text, id)
	}
	if m.Payload != nil {
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			c.t.Fatal(err)
		}
	}
	return p.Topics
}

// unsubscribe gives topics up and takes the ack, which must come next.
func (c *client) unsubscribe(topics ...string) {
	c.t.Helper()
	c.id++
	c.say(`{"type":"unsubscribe","id":%d,"topics":["%s"]}`, c.id, strings.Join(topics, `","`))
	c.acked(c.id)
}

// quiet expects that nothing has been sent but the answer to a heartbeat, which comes behind all that the edge has passed on.
func (c *client) quiet() {
	c.t.Helper()
	c.id++
	c.say(`{"type":"heartbeat","id":%d}`, c.id)
	c.acked(c.id)
}

// quietBut is quiet, but for messages of these topics.
func (c *client) quietBut(topics ...string) {
	c.t.Helper()
	c.id++
	c.say(`{"type":"heartbeat","id":%d}`, c.id)
	for {
		m := c.next()
		if m.Type == "ack" && m.ID == c.id {
			return
		}
		if !slices.Contains(topics, m.Topic) {
			c.t.Fatalf("got %s", m.text)
		}
	}
}

// closed expects that the edge closes the connection with a code, and nothing before that.
func (c *client) closed(code wire.CloseCode) {
	c.t.Helper()
	select {
	case <-c.over:
	case <-time.After(patience):
		c.t.Fatalf("the connection was not closed with %v", code)
	}
	if got := websocket.CloseStatus(c.err); got != websocket.StatusCode(code) {
		c.t.Fatalf("closed with %v, want %v", c.err, code)
	}
	select {
	case m := <-c.messages:
		c.t.Fatalf("before the close came %s", m.text)
	default:
	}
}

// payload reads what a message carries.
func payload[T any](t testing.TB, m message) T {
	t.Helper()
	var p T
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		t.Fatalf("%s: %v", m.text, err)
	}
	return p
}

func mustTopic(t testing.TB, s string) bus.Topic {
	t.Helper()
	topic, err := bus.ParseTopic(s)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}
