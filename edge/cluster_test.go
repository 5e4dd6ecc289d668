package edge_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge"
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
	cfg.Open = cfg.Verifier == nil
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

func mustTopic(t testing.TB, s string) bus.Topic {
	t.Helper()
	topic, err := bus.ParseTopic(s)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}
