//go:build linux

package bus_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/bus/embedded"
)

// smallDisk is a file system of some megabytes.
func smallDisk(t *testing.T, megabytes int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
			t.Skip("needs root, to mount a small file system")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// words is what a log said.
type words struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// A stream that is configured larger than NATS may store is said to be so, to who asks whether all is well.
func TestStream_LargerThanTheStorage_IsSaid(t *testing.T) {
	dir := smallDisk(t, 16)
	server := bustest.New(t, func(cfg *embedded.Config) { cfg.Dir = filepath.Join(dir, "nats") })
	c, err := bus.Connect(t.Context(), server.Config()) // 1 GiB
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "it is said", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "insufficient storage")
	})
}

// While the disk is full nothing is taken, which is said, and nothing of it is lost: it is published once there is room.
func TestOutbox_OutlivesAFullDisk(t *testing.T) {
	dir := smallDisk(t, 16)
	server := bustest.New(t, func(cfg *embedded.Config) { cfg.Dir = filepath.Join(dir, "nats") })
	said := new(words)
	c := server.Connect(t, func(cfg *bus.Config) {
		cfg.Stream.MaxBytes = 8 << 20
		cfg.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	out, stop := startOutbox(t, c, bus.OutboxConfig{Grace: patience, AckTimeout: 500 * time.Millisecond})
	put := func(from, to int) {
		for n := from; n < to; n++ {
			out.Put("alerts.a", fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 4<<10)), bus.PublishOptions{})
		}
	}
	put(0, 100)
	eventually(t, "the first are there", func() bool {
		s, err := c.StreamState(t.Context())
		return err == nil && s.Messages == 100
	})
	ballast := filepath.Join(dir, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 64<<10))
	}
	file.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	put(100, 300)
	// NATS goes on to answer all but what it would have to store.
	eventually(t, "it is said that NATS takes nothing", func() bool { return strings.Contains(said.String(), "NATS did not take a message, trying again") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	server.Restart() // it does not go on by itself
	stop()
	if got := retainedNumbers(t, c, "alerts.a"); !slices.Equal(got, upTo(300)) {
		t.Errorf("got %d messages: %v", len(got), got)
	}
}
