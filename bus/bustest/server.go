// Package bustest gives tests a real NATS: a nats-server with JetStream, file storage and monitoring, on a free port of
// the loopback address. Stop and Restart make outages; port and data stay the same.
package bustest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/embedded"
)

// Server is a NATS of a test. It is stopped when the test ends.
type Server struct {
	t       testing.TB
	cfg     embedded.Config
	running *embedded.Server
	url     string
	monitor string
}

// Option changes how the server is started.
type Option func(*embedded.Config)

// New starts a server.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{t: t, cfg: embedded.Config{
		Dir:     t.TempDir(),
		Listen:  "127.0.0.1:0",
		Monitor: "127.0.0.1:0",
		Logger:  slog.New(slog.DiscardHandler),
	}}
	for _, option := range options {
		option(&s.cfg)
	}
	t.Cleanup(s.Stop)
	s.start()
	s.url, s.monitor = s.running.ClientURL(), s.running.MonitorURL()
	s.cfg.Listen, s.cfg.Monitor = hostOf(t, s.url), hostOf(t, s.monitor)
	return s
}

// URL is where clients connect to, also while the server is stopped.
func (s *Server) URL() string { return s.url }

// MonitorURL is where NATS' monitoring is, such as /connz and /subsz.
func (s *Server) MonitorURL() string { return s.monitor }

// Stop ends the server, as an outage; it may be stopped already.
func (s *Server) Stop() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	if err := s.running.Shutdown(); err != nil {
		s.t.Errorf("stop NATS: %v", err)
	}
	s.running = nil
}

// Restart starts the server again, on the same port and with the same data, and waits until lines have come back to it. What
// they know of the stream may be from before: one in memory is gone.
func (s *Server) Restart(lines ...*bus.Conn) {
	s.t.Helper()
	wait := anew(s.t, lines)
	s.Stop()
	s.start()
	wait()
}

// Config is a bus configuration for this server, silent and with quick markers: a TTL of a second is one.
func (s *Server) Config() bus.Config {
	return bus.Config{
		Servers: []string{s.url},
		Stream:  bus.StreamConfig{MarkerTTL: time.Second},
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// Connect returns a line that is up, with the stream there. It is closed when the test ends.
func (s *Server) Connect(t testing.TB, change ...func(*bus.Config)) *bus.Conn {
	t.Helper()
	cfg := s.Config()
	for _, f := range change {
		f(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, cfg)
	if err != nil {
		t.Fatalf("connect to the test's NATS: %v", err)
	}
	t.Cleanup(c.Close)
	if err := c.WaitReady(ctx); err != nil {
		t.Fatalf("connect to the test's NATS: %v", err)
	}
	return c
}

// start tries for a while: after an outage, the port may not be free at once.
func (s *Server) start() {
	s.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		running, err := embedded.Start(s.cfg)
		if err == nil {
			s.running = running
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(fmt.Errorf("start NATS for a test: %w", err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func hostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("address of the test's NATS: %v", err)
	}
	return u.Host
}
