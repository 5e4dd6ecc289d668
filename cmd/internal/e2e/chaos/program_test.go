//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is one that was started in a node, in a process of its own.
type program struct {
	t       testing.TB
	name    string
	process *os.Process
	stdin   io.WriteCloser
	out     output        // all that it wrote
	ended   chan struct{} // closed when it has ended
	state   *os.ProcessState
	killed  bool // by the test
}

// command is how a program is started.
type command struct {
	path string
	args []string
	env  []string
}

// start starts a program, which is ended with the test.
func (m *node) start(name string, c command) *program {
	m.t.Helper()
	p := &program{t: m.t, name: name, ended: make(chan struct{})}
	cmd := exec.Command("ip", append([]string{"netns", "exec", m.name, c.path}, c.args...)...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	p.stdin = stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started it ends
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
		m.t.Fatal(err)
	}
	p.process = cmd.Process
	m.t.Cleanup(p.clear)
	return p
}

// clear ends it with the test, and tells its last words if that failed.
func (p *program) clear() {
	if !p.over() {
		p.kill()
	}
	said := p.out.String()
	if strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic: ") || strings.Contains(said, "fatal error: ") {
		p.t.Errorf("%s is broken:\n%s", p.name, said)
	}
	if !p.killed && p.state.ExitCode() != 0 {
		p.t.Errorf("%s ended with %v", p.name, p.state)
	}
	if p.t.Failed() {
		lines := strings.SplitAfter(said, "\n")
		p.t.Logf("%s ended with %v\n%s", p.name, p.state, strings.Join(lines[max(0, len(lines)-40):], ""))
	}
}

func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.process.Signal(s); err != nil {
		p.t.Fatalf("send %v to %s: %v", s, p.name, err)
	}
}

// kill ends it as a crash does.
func (p *program) kill() {
	p.t.Helper()
	p.killed = true
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop ends it as an init system does.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.exit()
}

// exit waits for its end by itself.
func (p *program) exit() {
	p.t.Helper()
	p.exitWithin(patience)
}

func (p *program) exitWithin(most time.Duration) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(most):
		p.signal(syscall.SIGQUIT) // its goroutines tell why
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
		}
		p.t.Fatalf("%s did not end within %v", p.name, most)
	}
}

// await waits until it has written something.
func (p *program) await(text string) {
	p.t.Helper()
	eventually(p.t, p.name+" to say "+text, func() error {
		switch {
		case strings.Contains(p.out.String(), text):
			return nil
		case p.over():
			p.t.Fatalf("%s ended with %v before it said %s", p.name, p.state, text)
		}
		return fmt.Errorf("it has not")
	})
}

// output is what a program has written so far.
type output struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

// self is this test binary, for its other parts.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ours are the programs of the repository as they are, built once.
var ours = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "bin"); err == nil {
		err = build("", "build", "-trimpath", "-o", dir, "tidings/cmd/edge", "tidings/cmd/publisher")
	}
	return dir, err
})

// built is the path of one of our programs.
func built(t testing.TB, name string) string {
	t.Helper()
	dir, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// build runs the go command; with an overlay, if it is given one.
func build(overlay string, args ...string) error {
	if overlay != "" {
		args = append([]string{args[0], "-overlay", overlay}, args[1:]...)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}
