package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/edge/wire"
)

// The times of these tests are those of a synctest bubble: exact, and over in a moment.

func TestGoingAway_DialsAtARandomTimeWithinTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const least, most, rounds = time.Second, 9 * time.Second, 400 // most is less than the patience of a scene
		s, cfg := newStillScene(t)
		w := watch(t, s, cfg, "container-events.*")
		current := s.enter()
		current.ack(current.hear("subscribe container-events.*"), 10)
		w.hears("connected to edge-0", "subscribed container-events.* at e1:10")
		var dials [8]int // by the second of the window that they fell into
		for range rounds {
			told := time.Now()
			current.say(wire.AppendGoingAway(nil, 1, "draining", least.Milliseconds(), most.Milliseconds(), 20000))
			next := s.enter()
			waited := time.Since(told)
			if waited < least || waited > most {
				t.Fatalf("dialled after %v, in a window of %v to %v", waited, least, most)
			}
			dials[min(int((waited-least)/time.Second), len(dials)-1)]++
			next.ack(next.hear("subscribe container-events.* since=e1:10"), 10, true)
			current.leaves()
			w.hears("connected to edge-0", "subscribed container-events.* at e1:10 recovered=true")
			current = next
		}
		for second, n := range dials { // 50 are to be expected, and 20 are more than four deviations from that
			if n < 20 {
				t.Errorf("%d of %d dials fell into second %d of the window: %v", n, rounds, second, dials)
			}
		}
	})
}

// Until the window opens the old line is heard, and an edge that ends it at its deadline is not waited for.
func TestGoingAway_DeadlineBeforeTheWindow_IsNoReasonToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cfg := newStillScene(t)
		w := watch(t, s, cfg, "container-events.*")
		old := s.enter()
		old.ack(old.hear("subscribe container-events.*"), 10)
		told := time.Now()
		old.say(wire.AppendGoingAway(nil, 1, "draining", 60000, 60000, 5000))
		time.Sleep(5*time.Second - time.Millisecond)
		old.data("container-events.a", 11, 0)
		w.hears("connected to edge-0", "subscribed container-events.* at e1:10", "container-events.a 11")
		time.Sleep(time.Millisecond)
		old.close(wire.CloseDraining, "")
		w.hears("disconnected 1012 draining")
		a := s.enter()
		if waited := time.Since(told); waited < 5*time.Second || waited > 5*time.Second+cfg.BackoffCap {
			t.Errorf("dialled after %v", waited)
		}
		a.ack(a.hear("subscribe container-events.* since=e1:11"), 11, true)
		w.hears("connected to edge-0", "subscribed container-events.* at e1:11 recovered=true")
	})
}

// newStillScene is a scene in a synctest bubble: its network is in memory, or time would not stand still for it.
func newStillScene(t testing.TB) (*scene, Config) {
	l := &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})}
	s := newSceneAt(t, l)
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return s, Config{HTTPClient: &http.Client{Transport: transport}, BackoffBase: time.Millisecond, BackoffCap: 5 * time.Millisecond}
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.dialled <- far:
		return near, nil
	case <-p.closed:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
