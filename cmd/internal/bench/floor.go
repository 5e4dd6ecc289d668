package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/edge/poll"
)

// Floor is the least that a server can do to push messages to WebSocket clients: it answers the handshake, frames each
// message of NATS once, and gives every client all that NATS brought at a time in one write. It knows no topics and no
// subscriptions, checks nothing, sends no heartbeat, and closes a client whose socket is full.
type Floor struct {
	listener *poll.Listener
	poller   *poll.Poller
	messages *bus.Listener

	mu       sync.Mutex
	arrivals []poll.Accepted
	stopped  bool
	open     []*guest // that have shaken hands and take all
	broken   []*guest // that did not take all
}

// floorCapacity is how many messages may wait; what is more is lost.
const floorCapacity = 64 << 10

// NewFloor opens the listener and subscribes to the topics of a type.
func NewFloor(ctx context.Context, conn *bus.Conn, listen, topic string) (*Floor, error) {
	f := &Floor{}
	var err error
	if f.poller, err = poll.New(); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	if f.listener, err = poll.Listen(ctx, listen, poll.Options{}); err != nil {
		return nil, fmt.Errorf("floor: %w", errors.Join(err, f.poller.Close()))
	}
	f.messages = conn.Listen(floorCapacity)
	pattern, err := bus.ParsePattern(topic + ".>")
	if err == nil {
		err = f.messages.Add(pattern)
	}
	if err == nil {
		err = conn.Flush(ctx)
	}
	if err != nil {
		f.messages.Close()
		return nil, fmt.Errorf("floor: %w", errors.Join(err, f.listener.Close(), f.poller.Close()))
	}
	return f, nil
}

// Addr is where it listens.
func (f *Floor) Addr() net.Addr { return f.listener.Addr() }

// Run serves until ctx ends.
func (f *Floor) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	parts := []func() error{f.accept, f.greet, func() error { f.fanOut(ctx); return nil }}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		running.Go(func() { ended <- part() })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	stop()
	f.listener.Close()
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.poller.Wake()
	running.Wait()
	f.messages.Close()
	return errors.Join(err, f.poller.Close())
}

// accept takes connections in until the listener is closed.
func (f *Floor) accept() error {
	batch := make([]poll.Accepted, 64)
	for {
		n, err := f.listener.Accept(batch)
		if errors.Is(err, poll.ErrNoDescriptors) {
			continue // that client was turned away
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("floor: %w", err)
		}
		f.mu.Lock()
		f.arrivals = append(f.arrivals, batch[:n]...)
		f.mu.Unlock()
		f.poller.Wake()
	}
}

// guest is a connection. Its socket is closed by the greeting goroutine, and never while fanOut writes to it.
type guest struct {
	socket poll.Socket

	// The greeting goroutine's.
	request []byte // as far as it has come
	served  bool   // it has shaken hands
	closed  bool
}

// greet shakes hands, and reads what clients say without looking at it.
func (f *Floor) greet() error {
	var guests []*guest
	defer func() {
		for _, g := range guests {
			f.part(g)
		}
	}()
	events := make([]poll.Event, eventsMax)
	buffer := make([]byte, 16<<10)
	idle := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.arrivals) == 0 && len(f.broken) == 0 && !f.stopped
	}
	for {
		n, err := f.poller.Wait(events, time.Time{}, idle)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		f.mu.Lock()
		arrivals, broken, stopped := f.arrivals, f.broken, f.stopped
		f.arrivals, f.broken = nil, nil
		f.mu.Unlock()
		for _, g := range broken {
			f.part(g)
		}
		for _, a := range arrivals {
			socket, err := f.poller.Add(a, poll.Token(len(guests)))
			if err != nil {
				a.Close()
				continue
			}
			guests = append(guests, &guest{socket: socket})
		}
		if stopped {
			return nil
		}
		for _, e := range events[:n] {
			if g := guests[e.Token]; !g.closed {
				f.read(g, buffer)
			}
		}
	}
}

func (f *Floor) read(g *guest, buffer []byte) {
	n, err := g.socket.Read(buffer)
	switch {
	case errors.Is(err, poll.ErrAgain) || err == nil && g.served:
		return
	case err != nil:
		f.part(g)
		return
	}
	g.request = append(g.request, buffer[:n]...)
	if !bytes.Contains(g.request, []byte("\r\n\r\n")) {
		return
	}
	var answer bytes.Buffer
	both := struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(g.request), &answer}
	agree := ws.Upgrader{Protocol: func([]byte) bool { return true }}
	_, err = agree.Upgrade(both)
	if _, werr := g.socket.Write(answer.Bytes()); err != nil || werr != nil {
		f.part(g)
		return
	}
	g.request, g.served = nil, true
	f.mu.Lock()
	f.open = append(f.open, g)
	f.mu.Unlock()
}

// part closes a connection.
func (f *Floor) part(g *guest) {
	if g.closed {
		return
	}
	g.closed = true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = slices.DeleteFunc(f.open, func(other *guest) bool { return other == g })
	g.socket.Close()
}

// fanOut is the floor itself.
func (f *Floor) fanOut(ctx context.Context) {
	var frames bytes.Buffer
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-f.messages.C():
			frames.Reset()
			for more := true; more; {
				frameTo(&frames, m)
				select {
				case m = <-f.messages.C():
				default:
					more = false
				}
			}
		}
		f.writeAll(frames.Bytes())
	}
}

func (f *Floor) writeAll(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	took := f.open[:0]
	for _, g := range f.open {
		if _, err := g.socket.Write(b); err != nil {
			f.broken = append(f.broken, g) // part of a frame may have gone out: nothing can follow
			continue
		}
		took = append(took, g)
	}
	if len(took) < len(f.open) {
		clear(f.open[len(took):])
		f.open = took
		f.poller.Wake()
	}
}

// frameTo appends a message, in a frame of its own.
func frameTo(b *bytes.Buffer, m *nats.Msg) {
	_ = ws.WriteHeader(b, ws.Header{Fin: true, OpCode: ws.OpText, Length: int64(len(m.Data))}) // a buffer takes all
	b.Write(m.Data)
}
