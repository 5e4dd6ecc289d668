package docker

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

// cable leads to an engine's socket, byte for byte, can be listened to, and can be cut.
type cable struct {
	t    testing.TB
	end  string // the engine's socket
	path string // its own

	running  sync.WaitGroup
	mu       sync.Mutex // guards what follows
	listener net.Listener
	strands  map[net.Conn]struct{}
	said     bytes.Buffer // to the engine
}

// Write takes what is said to the engine.
func (c *cable) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.Write(b)
}

// requests are the first lines of what the engine was asked for so far.
func (c *cable) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return requestLine.FindAllString(c.said.String(), -1)
}

var requestLine = regexp.MustCompile(`(?m)^[A-Z]+ .* HTTP/1\.1\r?$`)

func newCable(t testing.TB, end string) *cable {
	dir, err := os.MkdirTemp("", "cable") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, end: end, path: filepath.Join(dir, "s"), strands: make(map[net.Conn]struct{})}
	t.Cleanup(func() {
		c.cut()
		os.RemoveAll(dir)
	})
	c.mend()
	return c
}

func (c *cable) host() string { return "unix://" + c.path }

// mend makes it lead to the engine (again).
func (c *cable) mend() {
	listener, err := net.Listen("unix", c.path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.listener = listener
	c.mu.Unlock()
	c.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", c.end)
			if err != nil {
				near.Close()
				continue
			}
			c.mu.Lock()
			c.strands[near], c.strands[far] = struct{}{}, struct{}{}
			if c.listener != listener { // cut meanwhile
				near.Close()
				far.Close()
			}
			c.mu.Unlock()
			for to, from := range map[net.Conn]io.Reader{far: io.TeeReader(near, c), near: far} {
				c.running.Go(func() {
					_, _ = io.Copy(to, from)
					near.Close()
					far.Close()
				})
			}
		}
	})
}

// cut ends all connections, and lets none be made.
func (c *cable) cut() {
	c.mu.Lock()
	if c.listener != nil {
		c.listener.Close()
		c.listener = nil
	}
	for conn := range c.strands {
		conn.Close()
	}
	clear(c.strands)
	c.mu.Unlock()
	c.running.Wait()
}
