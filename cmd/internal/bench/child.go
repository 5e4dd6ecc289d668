package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Child is this program once more, as a process that serves something: what it costs can be told apart from what
// measuring costs. It says where it serves in its first line, and ends when its standard input does, so that none
// outlives us however we end.
type Child struct {
	Address string
	PID     int

	name    string // what of it is told: flags may hold what is nobody's business
	command *exec.Cmd
	input   io.Closer
	ended   chan struct{} // closed when it has
	err     error         // how; after ended
	said    tail
}

// How long a child may take.
const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// StartChild returns when the child serves, or has said why it does not.
func StartChild(ctx context.Context, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &Child{name: strings.Join(words(args), " "), command: exec.Command(self, args...), ended: make(chan struct{})}
	c.command.Stderr = &c.said
	apart(c.command)
	fail := func(err error) (*Child, error) {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	if c.input, err = c.command.StdinPipe(); err != nil {
		return fail(err)
	}
	output, err := c.command.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := c.command.Start(); err != nil {
		return fail(err)
	}
	c.PID = c.command.Process.Pid
	first := make(chan string, 1)
	go func() {
		defer close(c.ended)
		lines := bufio.NewReader(output)
		line, _ := lines.ReadString('\n') // none: it ends, and says why
		first <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, lines)
		c.err = c.command.Wait()
	}()

	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case c.Address = <-first:
		if c.Address != "" {
			return c, nil
		}
		err = errors.New(c.said.last())
	case <-limited.Done():
		err = limited.Err()
	}
	_ = c.Stop() // what is wrong is known
	return fail(err)
}

// Stop ends the child and waits for it.
func (c *Child) Stop() error {
	_ = c.input.Close() // the end of its input is what it waits for; it may have ended before
	select {
	case <-c.ended:
	case <-time.After(stopTimeout):
		_ = c.command.Process.Kill()
		<-c.ended
		return fmt.Errorf("%s did not end by itself", c.name)
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w: %s", c.name, c.err, c.said.last())
	}
	return nil
}

// words are what comes before the flags.
func words(args []string) []string {
	for i, arg := range args {
		if strings.HasPrefix(arg, "-") {
			return args[:i]
		}
	}
	return args
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - 4096; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

// last is the error that a command ends with, which may have several lines, or else the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := "\n" + strings.TrimSpace(string(t.text))
	const begins = "\ntidings: "
	if i := strings.LastIndex(text, begins); i >= 0 {
		return text[i+len(begins):]
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}
