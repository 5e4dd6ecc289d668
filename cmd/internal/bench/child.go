package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Child is a process that serves something: what it costs can be told apart from what measuring costs. None outlives us,
// however we end.
type Child struct {
	Address string
	PID     int

	name    string // what of it is told: flags may hold what is nobody's business
	command *exec.Cmd
	stop    func() error  // has it end
	ended   chan struct{} // closed when it has
	err     error         // how; after ended
	said    tail
}

// How long a child may take.
const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// StartChild starts this program once more. It says where it serves in its first line, and ends when its standard input does.
func StartChild(ctx context.Context, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &Child{name: strings.Join(words(args), " "), command: exec.Command(self, args...)}
	c.command.Stderr = &c.said
	input, err := c.command.StdinPipe()
	if err != nil {
		return nil, c.unstarted(err)
	}
	c.stop = input.Close
	output, err := c.command.StdoutPipe()
	if err != nil {
		return nil, c.unstarted(err)
	}
	return c.start(ctx, output, strings.TrimSpace)
}

// StartEdge starts an edge's program. It says where it serves in its log, and ends when it is told to.
func StartEdge(ctx context.Context, program string, args ...string) (*Child, error) {
	c := &Child{name: program, command: exec.Command(program, append(args, "--log-format", "json", "--log-level", "info")...)}
	c.command.Env = append(os.Environ(), "TIDINGS_DRAIN_WAIT=0s") // there is no load balancer to notice
	c.stop = func() error { return c.command.Process.Signal(os.Interrupt) }
	log, err := c.command.StderrPipe()
	if err != nil {
		return nil, c.unstarted(err)
	}
	return c.start(ctx, io.TeeReader(log, &c.said), func(line string) string {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "serving" {
			return ""
		}
		return entry.Address
	})
}

func (c *Child) unstarted(err error) error { return fmt.Errorf("start %s: %w", c.name, err) }

// start returns when the child serves, which it says in a line that has its address, or has said why it does not.
func (c *Child) start(ctx context.Context, output io.Reader, address func(line string) string) (*Child, error) {
	apart(c.command)
	if err := c.command.Start(); err != nil {
		return nil, c.unstarted(err)
	}
	c.PID, c.ended = c.command.Process.Pid, make(chan struct{})
	found := make(chan string, 1)
	go func() {
		defer close(c.ended)
		lines := bufio.NewReader(output)
		for at, err := "", error(nil); at == "" && err == nil; {
			var line string
			line, err = lines.ReadString('\n')
			if at = address(line); at != "" || err != nil { // none: it ends, and says why
				found <- at
			}
		}
		_, _ = io.Copy(io.Discard, lines)
		c.err = c.command.Wait()
	}()

	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	select {
	case c.Address = <-found:
		if c.Address != "" {
			return c, nil
		}
		err = errors.New(cmp.Or(c.said.last(), "it ended without having served"))
	case <-limited.Done():
		err = limited.Err()
	}
	_ = c.Stop() // what is wrong is known
	return nil, c.unstarted(err)
}

// Stop ends the child and waits for it.
func (c *Child) Stop() error {
	_ = c.stop() // it may have ended before
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
	for _, begins := range []string{"\ntidings: ", "\nedge: "} {
		if i := strings.LastIndex(text, begins); i >= 0 {
			return text[i+len(begins):]
		}
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}
