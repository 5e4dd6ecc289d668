package host

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a host made of files, a copy of testdata/web-1 that a test may change.
type machine struct {
	t   *testing.T
	dir string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	if err := os.CopyFS(m.dir, os.DirFS("testdata/web-1")); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m machine) config() Config {
	return Config{
		Proc: filepath.Join(m.dir, "proc"), Sys: filepath.Join(m.dir, "sys"), Root: filepath.Join(m.dir, "root"),
		Interval: time.Second, Version: "1.2.3", Logger: slog.New(slog.DiscardHandler),
		Runtimes: func() []publisher.Runtime { return []publisher.Runtime{{Name: "docker", Version: "29.0"}} },
		Actions:  []string{"restart"},
	}
}

func (m machine) paths() paths { return newPaths(m.config()) }

func (m machine) write(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) remove(path string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, path)); err != nil {
		m.t.Fatal(err)
	}
}

// metrics is the machine's metrics source, with filesystems of 1,000 bytes each.
func (m machine) metrics() *metricsSource {
	m.t.Helper()
	sources, err := New(m.config())
	if err != nil {
		m.t.Fatal(err)
	}
	s := sources[0].(*metricsSource)
	s.filesystems.usage = func(string, string, string) (usage, error) { return usage{1000, 600, 300}, nil }
	return s
}

// beat reads once and returns what was emitted, as it goes over the wire.
func beat[T any](t *testing.T, s publisher.Source) (payload T, err error) {
	t.Helper()
	emitted := 0
	err = s.Read(context.Background(), func(r publisher.Reading) {
		emitted++
		text, err := json.Marshal(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &payload); err != nil {
			t.Fatal(err)
		}
	})
	if emitted != 1 {
		t.Fatalf("one beat emitted %d messages, error %v", emitted, err)
	}
	return payload, err
}

func mustBeat[T any](t *testing.T, s publisher.Source) T {
	t.Helper()
	payload, err := beat[T](t, s)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

var errTest = errors.New("as the test wants it")
