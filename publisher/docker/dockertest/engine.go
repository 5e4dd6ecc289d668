//go:build unix

package dockertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// Engine is a Docker Engine of the tests' own.
type Engine struct {
	dir    string // short, for a socket's path has at most 108 bytes
	client *client.Client

	mu      sync.Mutex // guards what follows
	daemon  *daemon    // nil while the engine is down
	network string     // id of the network for Spec.Network; empty: not made yet
}

// daemon is one dockerd process.
type daemon struct {
	process *os.Process
	ended   chan struct{} // closed when it has ended
}

// Start starts an engine for one test, which ends with it. Tests that don't
// stop, kill or restart their engine share one: Shared.
func Start(t testing.TB) *Engine {
	t.Helper()
	need(t)
	e, err := start()
	if err != nil {
		t.Fatalf("start a Docker Engine: %v", err)
	}
	t.Cleanup(func() {
		if err := e.end(); err != nil {
			t.Errorf("end the Docker Engine: %v", err)
		}
	})
	return e
}

// Host is the engine's address.
func (e *Engine) Host() string { return "unix://" + e.Socket() }

// Socket is the path of the engine's socket.
func (e *Engine) Socket() string { return filepath.Join(e.dir, "docker.sock") }

// Client speaks to the engine, for what Container has no method for.
func (e *Engine) Client() *client.Client { return e.client }

// Kill ends the engine as a crash does. Its containers go on until Up.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := errors.Join(e.daemon.end(syscall.SIGKILL), e.killContainerd()); err != nil {
		t.Fatalf("kill the Docker Engine: %v", err)
	}
	e.daemon = nil
}

// killContainerd ends the containerd that dockerd has of its own. It dies with
// dockerd, but a moment later, and a dockerd that starts meanwhile would wait
// for this one to answer.
func (e *Engine) killContainerd() error {
	path := filepath.Join(e.dir, "exec/containerd/containerd.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it uses the machine's
	}
	if err != nil {
		return err
	}
	id, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := syscall.Kill(id, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return os.Remove(path)
}

// Up starts the engine again after Kill, with what it had stored.
func (e *Engine) Up(t testing.TB) {
	t.Helper()
	if err := e.up(); err != nil {
		t.Fatalf("start the Docker Engine again: %v", err)
	}
}

func start() (*Engine, error) {
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir}
	e.client, err = client.New(client.WithHost(e.Host()))
	if err == nil {
		err = e.up()
	}
	if err == nil {
		err = e.load()
	}
	if err != nil {
		return nil, errors.Join(err, e.end())
	}
	return e, nil
}

// up starts dockerd and waits until it answers. The flags keep it off
// everything that another one, the machine's own or another test's, may use.
func (e *Engine) up() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.daemon != nil {
		return errors.New("it is up already")
	}
	in := func(name string) string { return filepath.Join(e.dir, name) }
	if err := os.WriteFile(in("daemon.json"), []byte("{}"), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(in("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	name := filepath.Base(e.dir)
	cmd := exec.Command(dockerd(),
		"--host", e.Host(), "--config-file", in("daemon.json"), "--pidfile", in("pid"),
		"--data-root", in("data"), "--exec-root", in("exec"),
		"--containerd-namespace", name, "--containerd-plugins-namespace", name+"-plugins", // where containerd is the machine's
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", // containers need no way out
		"--shutdown-timeout", "2", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = apart()
	d := &daemon{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread that started the process for ours:
		// see apart.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(d.ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	d.process = cmd.Process
	e.daemon = d

	deadline := time.Now().Add(60 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := e.client.Ping(ctx, client.PingOptions{})
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			e.daemon = nil
			return fmt.Errorf("dockerd has ended; its last words:\n%s", e.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd doesn't answer: %w; its last words:\n%s", err, e.lastWords())
		}
	}
}

// end removes all containers, ends the process and removes its files.
func (e *Engine) end() error {
	var faults []error
	if !e.isUp() { // its containers may be running still: only it can end them
		faults = append(faults, e.up())
	}
	if e.isUp() {
		faults = append(faults, e.clean(), e.daemon.end(syscall.SIGTERM))
	}
	if e.client != nil {
		faults = append(faults, e.client.Close())
	}
	faults = append(faults, e.unmount(), os.RemoveAll(e.dir))
	return errors.Join(faults...)
}

func (e *Engine) isUp() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.daemon != nil
}

// end sends the process a signal, and kills it if that doesn't end it.
func (d *daemon) end(signal syscall.Signal) error {
	if err := d.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(20 * time.Second):
	}
	err := d.process.Kill()
	<-d.ended
	return errors.Join(err, fmt.Errorf("dockerd didn't end on %v", signal))
}

// lastWords is the end of dockerd's log.
func (e *Engine) lastWords() []byte {
	log, _ := os.ReadFile(filepath.Join(e.dir, "log"))
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
}

// dockerd is the daemon's path, or "".
func dockerd() string {
	for _, name := range []string{"dockerd", "/usr/sbin/dockerd", "/usr/local/sbin/dockerd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
