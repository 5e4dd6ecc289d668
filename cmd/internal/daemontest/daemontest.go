// Package daemontest runs a whole program inside a test, as its main does except for the process.
package daemontest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/cmd/internal/daemon"
)

// patience is how long a program may take for anything.
const patience = 30 * time.Second

// Program is one that runs.
type Program struct {
	Stdout, Stderr *Output
	Stop           func() (code int) // as SIGTERM does; waits for the end, and may be called again

	t    testing.TB
	code chan int // holds the exit code once it has ended
}

// Start runs a command line until Stop is called or the test ends.
func Start(t testing.TB, run daemon.Program, args ...string) *Program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Program{Stdout: newOutput(), Stderr: newOutput(), t: t, code: make(chan int, 1)}
	p.Stop = sync.OnceValue(func() int {
		cancel()
		select {
		case code := <-p.code:
			return code
		case <-time.After(patience):
			t.Errorf("did not stop:\n%s", p.Stderr)
			return -1
		}
	})
	go func() { p.code <- run(ctx, args, strings.NewReader(""), p.Stdout, p.Stderr) }()
	t.Cleanup(func() { p.Stop() })
	return p
}

// Await waits until pattern matches in what out has, and returns its first group.
func (p *Program) Await(out *Output, pattern *regexp.Regexp) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		changed := out.changes()
		if match := pattern.FindStringSubmatch(out.String()); match != nil {
			return match[1]
		}
		select {
		case <-changed:
		case code := <-p.code:
			p.code <- code
			p.t.Fatalf("ended with %d too soon:\n%s%s", code, p.Stdout, p.Stderr)
		case <-deadline:
			p.t.Fatalf("nothing like %s after %v:\n%s%s", pattern, patience, p.Stdout, p.Stderr)
		}
	}
}

// Invoke runs a command line that ends by itself.
func Invoke(t testing.TB, run daemon.Program, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, strings.NewReader(stdin), &out, &errs)
	if ctx.Err() != nil {
		t.Fatalf("%q did not end by itself:\n%s%s", args, out.String(), errs.String())
	}
	return code, out.String(), errs.String()
}

// Get asks a server and returns its answer.
func Get(t testing.TB, address string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// AwaitStatus asks a server until it answers with status, and returns the body of that answer.
func AwaitStatus(t testing.TB, address string, status int) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got, body := Get(t, address)
		if got == status {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d %s", address, got, body)
		}
	}
}

// Output is what a program has written so far.
type Output struct {
	mu      sync.Mutex
	written bytes.Buffer
	changed chan struct{} // closed and replaced by each Write
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.written.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

func (o *Output) changes() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}
