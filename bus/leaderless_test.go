package bus_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/bus/bustest"
)

// trio starts a cluster of three NATS servers.
func trio(t *testing.T) (servers [3]*server.Server) {
	t.Helper()
	var listeners [3]net.Listener
	var routes []*url.URL
	for i := range listeners { // each server has to know of all from the start
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i], routes = l, append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	for i, l := range listeners {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("nats-%d", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: routes,
			Cluster: server.ClusterOpts{Name: "trio", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers[i] = s
	}
	for _, s := range servers {
		if !s.ReadyForConnections(patience) {
			t.Fatal("the server does not start")
		}
	}
	return servers
}

// A replica that is left alone answers for the stream after a while, with what it knew of it. Nobody is told by that where the stream ends.
func TestReads_OfAStreamWithoutALeader_Fail(t *testing.T) {
	t.Parallel()
	servers := trio(t)
	left := servers[2]
	c, err := bus.Connect(t.Context(), bus.Config{
		Servers: []string{left.ClientURL()}, Stream: bus.StreamConfig{Replicas: 3}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the stream", func() bool { return c.State().Epoch != "" })
	var last uint64
	for n := range 3 {
		last = publish(t, c, "orders.a", n)
	}
	if r, err := c.After(t.Context(), last, 0, "orders.*"); err != nil || !r.Complete {
		t.Fatalf("with a leader: %+v, %v", r, err)
	}
	for _, s := range servers[:2] {
		s.Shutdown()
		s.WaitForShutdown()
	}
	line, err := nats.Connect(left.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	js, err := line.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(4 * patience); ; { // nats-server waits for ten seconds before it does
		info, err := js.StreamInfo("TIDINGS")
		if err == nil && info.Cluster.Leader == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the one left does not answer for the stream: %+v, %v", info, err)
		}
	}
	if r, err := c.After(t.Context(), last+1, 0, "orders.*"); err == nil {
		t.Errorf("after a place that it does not know: %+v", r)
	}
	if r, err := c.After(t.Context(), last-1, 0, "orders.*"); err == nil {
		t.Errorf("after a place that it knows: %+v", r)
	}
	if s, err := c.Last(t.Context(), "orders.*"); err == nil {
		t.Errorf("last: %+v", s)
	}
	if at, _, err := c.End(t.Context()); err == nil {
		t.Errorf("end: %+v", at)
	}
	if c.State().Epoch == "" {
		t.Error("what was known of the stream is forgotten")
	}
}

// A leader that has not heard of the others of late may have been cut off: that it does not have a position says nothing.
func TestAfter_OfALeaderThatMayBeCutOff_IsNoAnswer(t *testing.T) {
	s := bustest.New(t)
	const prefix = "CUTOFF.API"
	active := make(chan time.Duration, 1) // how long ago its replicas were heard of
	line, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	_, err = line.Subscribe(prefix+".>", func(m *nats.Msg) {
		subject := "$JS.API" + strings.TrimPrefix(m.Subject, prefix)
		if !strings.Contains(subject, ".STREAM.INFO.") {
			_ = line.PublishMsg(&nats.Msg{Subject: subject, Reply: m.Reply, Data: m.Data, Header: m.Header})
			return
		}
		answer, err := line.Request(subject, m.Data, patience)
		var info map[string]any
		if err == nil {
			err = json.Unmarshal(answer.Data, &info)
		}
		if config, ok := info["config"].(map[string]any); ok && len(active) > 0 {
			heard := <-active
			active <- heard
			replica := map[string]any{"name": "other", "current": true, "active": heard}
			config["num_replicas"], info["cluster"] = 3, map[string]any{"leader": "this", "replicas": []any{replica, replica}}
		}
		text, _ := json.Marshal(info)
		if err != nil || m.Respond(text) != nil {
			t.Errorf("answer for the stream: %v", err)
		}
	})
	if err == nil {
		err = line.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := s.Connect(t, func(cfg *bus.Config) { cfg.API = prefix })
	last := publish(t, c, "orders.a", 1)
	active <- time.Minute
	if r, err := c.After(t.Context(), last+1, 0, "orders.*"); err == nil {
		t.Errorf("cut off: %+v", r)
	}
	<-active
	active <- time.Second
	if r, err := c.After(t.Context(), last+1, 0, "orders.*"); err != nil || r.Complete || r.Position.Seq != last {
		t.Errorf("in touch with the others: %+v, %v", r, err)
	}
}
