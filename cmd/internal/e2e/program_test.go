//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// command is how a program is started.
type command struct {
	path  string // of the program
	args  []string
	env   []string // beside the tests' own, without what is meant for Tidings there
	stdin string
	group bool // it has children: they end with it
	files int  // that it may have open at once; 0: as many as the tests
}

// program is one that was started, in a process of its own.
type program struct {
	t              testing.TB
	process        *os.Process
	stdout, stderr *output
	ended          chan struct{}    // closed when it has ended and all that it wrote is here
	state          *os.ProcessState // valid then
}

// start starts one of our programs, which is stopped when the test ends.
func start(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return launch(t, command{path: programs.path(t, name), args: args})
}

// invoke runs one of our programs until it ends by itself.
func invoke(t testing.TB, stdin, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := launch(t, command{path: programs.path(t, name), args: args, stdin: stdin})
	code = p.exit()
	return code, p.stdout.String(), p.stderr.String()
}

// launch starts a program that is stopped when the test ends, if it still runs then.
func launch(t testing.TB, c command) *program {
	t.Helper()
	p := &program{t: t, stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	if c.files > 0 {
		c.args = append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, c.files), c.path}, c.args...)
		c.path = "/bin/sh"
	}
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(environment(), c.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.stdin), p.stdout, p.stderr
	cmd.WaitDelay = time.Second
	// It must not outlive the tests, however they end, and ^C is for them alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread that started the process ends, so this one has to last.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			p.state = cmd.ProcessState
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	t.Cleanup(func() {
		if !p.over() {
			if code := p.stop(); code != 0 {
				t.Errorf("%s %s ended with %d", c.path, strings.Join(c.args, " "), code)
			}
		}
		if said := p.stderr.String(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic: ") {
			t.Errorf("%s is broken", c.path)
		}
		if c.group {
			eventually(t, "its children to end", patience, func() error {
				if err := syscall.Kill(-p.process.Pid, syscall.SIGKILL); err != syscall.ESRCH {
					return fmt.Errorf("some are there: %v", err)
				}
				return nil
			})
		}
		if t.Failed() {
			said := strings.SplitAfter(p.stderr.String(), "\n")
			t.Logf("%s %s ended with %v\n%s", c.path, strings.Join(c.args, " "), p.state, strings.Join(said[max(0, len(said)-30):], ""))
		}
	})
	return p
}

// environment is the tests' own, without what somebody has set for a Tidings of theirs.
func environment() (kept []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TIDINGS_") && !strings.HasPrefix(variable, "DOCKER_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends one.
func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.process.Signal(s); err != nil {
		p.t.Fatalf("send %v: %v", s, err)
	}
}

// kill ends it as a crash does.
func (p *program) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.exit()
}

// stop ends it as an init system does, and returns its exit code.
func (p *program) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.exit()
}

// exit waits for the end and returns the exit code; -1: a signal ended it.
func (p *program) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.process.Signal(syscall.SIGQUIT) // its goroutines tell why
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			_ = p.process.Kill()
			<-p.ended
		}
		p.t.Errorf("did not end within %v:\n%s", patience, p.stderr)
	}
	return p.state.ExitCode()
}

// await waits until pattern matches what it has written, and returns the first group.
func (p *program) await(out *output, pattern string) string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		over, changed := p.over(), out.changes()
		if match := expression.FindStringSubmatch(out.String()); match != nil {
			return match[len(match)-1]
		}
		if over {
			p.t.Fatalf("ended with %v before it wrote anything like %s:\n%s%s", p.state, pattern, p.stdout, p.stderr)
		}
		select {
		case <-changed:
		case <-p.ended:
		case <-deadline:
			p.t.Fatalf("waited %v for it to write anything like %s:\n%s%s", patience, pattern, p.stdout, p.stderr)
		}
	}
}

// lines waits until it has written n lines, and returns all that are whole.
func (p *program) lines(n int) []string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		over, changed := p.over(), p.stdout.changes()
		whole := strings.SplitAfter(p.stdout.String(), "\n")
		if whole = whole[:len(whole)-1]; len(whole) >= n {
			return whole
		}
		if over {
			p.t.Fatalf("ended with %v after %d of %d lines:\n%s", p.state, len(whole), n, p.stderr)
		}
		select {
		case <-changed:
		case <-p.ended:
		case <-deadline:
			p.t.Fatalf("waited %v: %d of %d lines:\n%s%s", patience, len(whole), n, p.stdout, p.stderr)
		}
	}
}

// output is what a program has written so far.
type output struct {
	mu      sync.Mutex
	written bytes.Buffer
	changed chan struct{} // closed and replaced by each Write
}

var _ io.Writer = (*output)(nil)

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.written.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

func (o *output) changes() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}
