//go:build unix

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// spawn runs this test binary as the program, and returns once it serves.
func spawn(t *testing.T, args ...string) (process *exec.Cmd, socket string) {
	t.Helper()
	process = exec.Command(os.Args[0], append([]string{"run", "--listen", "127.0.0.1:0", "--admin", "none", "--nats-listen", "none",
		"--data-dir", t.TempDir()}, args...)...)
	process.Env = append(os.Environ(), asProgram+"=1")
	process.Stderr = os.Stderr
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, address, ok := strings.Cut(lines.Text(), "http://"); ok {
			socket = "ws://" + address + "ws"
		}
		if strings.Contains(lines.Text(), "ctrl-C") {
			return process, socket
		}
	}
	t.Fatal("it ended before it served")
	return nil, ""
}

func TestProcess_SIGTERMStopsCleanly(t *testing.T) {
	process, _ := spawn(t)
	ends(t, process, 0, syscall.SIGTERM)
}

// A client that does not leave makes the drain last, so that there is a time for the second signal.
func TestProcess_SecondSignalStopsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_DRAIN_GRACE", "10m")
	process, socket := spawn(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, _, err := websocket.Dial(ctx, socket, &websocket.DialOptions{Subprotocols: []string{"tidings.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseNow()
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		_, message, err := client.Read(ctx)
		if err != nil {
			t.Fatalf("the edge closed the connection rather than drain: %v", err)
		}
		if strings.Contains(string(message), `"going_away"`) {
			break
		}
	}
	ends(t, process, 128+int(syscall.SIGINT), syscall.SIGINT)
}

func ends(t *testing.T, process *exec.Cmd, code int, with syscall.Signal) {
	t.Helper()
	if err := process.Process.Signal(with); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = process.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = process.Process.Signal(syscall.SIGQUIT) // its goroutines tell why
		<-ended
	}
	if got := process.ProcessState.ExitCode(); got != code {
		t.Errorf("ended with %d, want %d", got, code)
	}
}
