//go:build linux

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// front stands before some addresses, and deals connections to them in turn. Its lines can be cut.
type front struct {
	address string

	mu    sync.Mutex
	whole bool
	open  map[net.Conn]struct{}
}

// balance is a load balancer.
func balance(t testing.TB, targets ...string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{address: l.Addr().String(), whole: true, open: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", targets[i%len(targets)])
			if err != nil || !f.keep(near, far) {
				near.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					f.forget(near, far)
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.cut()
		running.Wait()
	})
	return f
}

// keep notes both ends of a connection, unless the line is cut.
func (f *front) keep(near, far net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.whole {
		far.Close()
		return false
	}
	f.open[near], f.open[far] = struct{}{}, struct{}{}
	return true
}

func (f *front) forget(ends ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range ends {
		c.Close()
		delete(f.open, c)
	}
}

// cut breaks all connections, and those that come, until mend.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = false
	for c := range f.open {
		c.Close()
	}
}

func (f *front) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = true
}
