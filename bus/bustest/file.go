package bustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"tidings/bus"
)

// FileServer is a NATS of a test that a configuration file describes, but for its address: a free port of the loopback
// address, which stays the same. It is stopped when the test ends.
type FileServer struct {
	t       testing.TB
	path    string
	port    int
	running *server.Server
}

// NewFromFile starts nats-server with the file.
func NewFromFile(t testing.TB, path string) *FileServer {
	t.Helper()
	s := &FileServer{t: t, path: path, port: server.RANDOM_PORT}
	t.Cleanup(s.Stop)
	s.start()
	return s
}

// URL is where clients connect to, also while the server is stopped.
func (s *FileServer) URL() string { return s.running.ClientURL() }

// Attempts is how many connections were opened since the server last started, refused ones included.
func (s *FileServer) Attempts() uint64 {
	v, err := s.running.Varz(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.TotalConnections
}

// Stop ends the server, as an outage; it may be stopped already.
func (s *FileServer) Stop() {
	if s.running != nil {
		s.running.Shutdown()
		s.running.WaitForShutdown()
	}
}

// Restart starts the server again, with the file as it is now, and waits until lines have come back to it.
func (s *FileServer) Restart(lines ...*bus.Conn) {
	s.t.Helper()
	wait := anew(s.t, lines)
	s.start()
	wait()
}

func (s *FileServer) start() {
	s.t.Helper()
	s.Stop()
	deadline := time.Now().Add(5 * time.Second)
	for { // after an outage, the port may not be free at once
		options, err := server.ProcessConfigFile(s.path)
		if err != nil {
			s.t.Fatalf("configuration of a test's NATS: %v", err)
		}
		options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", s.port, true, true
		running, err := server.NewServer(options)
		if err != nil {
			s.t.Fatalf("configuration of a test's NATS: %v", err)
		}
		running.Start()
		s.running = running
		if running.ReadyForConnections(5 * time.Second) {
			s.port = options.Port
			return
		}
		s.Stop()
		if time.Now().After(deadline) {
			s.t.Fatal("a test's NATS did not start")
		}
	}
}
