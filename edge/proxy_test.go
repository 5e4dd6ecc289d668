package edge_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"tidings/bus/bustest"
)

// proxy stands between an edge and NATS, and can be cut in two.
type proxy struct {
	t        testing.TB
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	whole bool
	conns map[net.Conn]struct{}
}

func newProxy(t testing.TB, nats *bustest.Server) *proxy {
	t.Helper()
	u, err := url.Parse(nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: u.Host, listener: l, whole: true, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		if !p.whole {
			near.Close()
			far.Close()
		} else {
			p.conns[near], p.conns[far] = struct{}{}, struct{}{}
		}
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			p.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

// cut breaks all connections, and those that come, until it is mended.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = false
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = true
}
