package embedded_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/bus"
	"tidings/bus/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, cfg bus.Config) *bus.Conn {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := bus.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStart_InProcessOnly(t *testing.T) {
	s := start(t, embedded.Config{Dir: filepath.Join(t.TempDir(), "made", "for us")})
	if s.ClientURL() != "" || s.MonitorURL() != "" {
		t.Errorf("it listens on %q and %q", s.ClientURL(), s.MonitorURL())
	}
	c := connect(t, bus.Config{InProcess: s})
	if seq, err := c.Publish(t.Context(), "alerts.a", []byte(`1`), bus.PublishOptions{}); err != nil || seq != 1 {
		t.Errorf("publish: %d, %v", seq, err)
	}
	// The largest payload that the bus takes, with its headers, is larger than NATS' own default allows.
	if _, err := c.Publish(t.Context(), "alerts.a", []byte(`"`+strings.Repeat("x", 1<<20-2)+`"`), bus.PublishOptions{MsgID: "large"}); err != nil {
		t.Errorf("publish 1 MiB: %v", err)
	}
}

func TestStart_ServesOthersAndMonitoring(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Monitor: "127.0.0.1:0"})
	connect(t, bus.Config{Servers: []string{s.ClientURL()}})
	answer, err := http.Get(s.MonitorURL() + "/varz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("monitoring answers %s", answer.Status)
	}
}

func TestRestart_KeepsStream(t *testing.T) {
	dir := t.TempDir()
	var epochs []string
	for n := range uint64(3) {
		s := start(t, embedded.Config{Dir: dir})
		c := connect(t, bus.Config{InProcess: s})
		seq, err := c.Publish(t.Context(), "alerts.a", []byte(`1`), bus.PublishOptions{})
		if err != nil || seq != n+1 {
			t.Errorf("publish: %d, %v", seq, err)
		}
		epochs = append(epochs, c.State().Epoch)
		c.Close()
		stop(t, s)
		stop(t, s)
	}
	if epochs[0] != epochs[1] || epochs[1] != epochs[2] {
		t.Errorf("epochs are %q", epochs)
	}
}

func TestStart_SaysWhatIsWrong(t *testing.T) {
	used := t.TempDir()
	start(t, embedded.Config{Dir: used})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().String()
	for name, tc := range map[string]struct {
		cfg  embedded.Config
		says []string
	}{
		"nothing":         {embedded.Config{Listen: "nowhere", Monitor: "127.0.0.1:x"}, []string{"dir: must not be empty", `listen: "nowhere"`, `monitor: "127.0.0.1:x": port`}},
		"directory used":  {embedded.Config{Dir: used}, []string{used, "in use by another process"}},
		"not a directory": {embedded.Config{Dir: file}, []string{file, "not a directory"}},
		"port taken":      {embedded.Config{Dir: t.TempDir(), Listen: port}, []string{"listen:", port, "address already in use"}},
		"monitor taken":   {embedded.Config{Dir: t.TempDir(), Monitor: port}, []string{"monitor:", port, "address already in use"}},
		"storage broken":  {embedded.Config{Dir: brokenStorage(t)}, []string{"Can't start JetStream", "not a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Logger = slog.New(slog.DiscardHandler)
			s, err := embedded.Start(tc.cfg)
			if err == nil {
				stop(t, s)
				t.Fatal("it starts")
			}
			for _, says := range tc.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
		})
	}
}

// brokenStorage is a directory in which nats-server fails, after all that we can check has passed.
func brokenStorage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestShutdown_FreesTheDirectory(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		s, err := embedded.Start(embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := embedded.Start(embedded.Config{Dir: dir}); err == nil || errors.Unwrap(err) == nil {
			t.Errorf("a second one in the same process: %v", err)
		}
		stop(t, s)
	}
}
