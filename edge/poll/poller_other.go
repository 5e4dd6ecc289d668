//go:build !linux

package poll

import (
	"net"
	"net/netip"
	"time"
)

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// Poller watches sockets for one goroutine, its owner. On this system every socket is a stream.
type Poller struct {
	woken   chan struct{}
	streams streams
}

// New opens a poller.
func New() (*Poller, error) {
	p := &Poller{woken: make(chan struct{}, 1)}
	p.streams.init(p.Wake)
	return p, nil
}

// Close ends the poller. Sockets still in it must have been closed by their owner; they are waited for.
func (p *Poller) Close() error {
	p.streams.wait()
	return nil
}

// Wait fills events with sockets that are ready and returns how many. With none it waits until there is one, until the
// time given (zero: for ever), or until [Poller.Wake]. Before it goes to sleep it asks idle, if given.
func (p *Poller) Wait(events []Event, until time.Time, idle func() bool) (int, error) {
	if n := p.streams.take(events); n > 0 {
		return n, nil
	}
	if idle != nil && !idle() {
		return 0, nil
	}
	var timeout <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-p.woken:
	case <-timeout:
	}
	return p.streams.take(events), nil
}

// Rest does nothing here: it is for descriptors.
func (p *Poller) Rest(time.Time) error { return nil }

// Wake makes a waiting owner return from [Poller.Wait]. Any goroutine may call it.
func (p *Poller) Wake() { signal(p.woken) }

// Add takes a connection in, for reading.
func (p *Poller) Add(a Accepted, t Token) (Socket, error) {
	return Socket{fd: -1, stream: p.streams.start(a.conn, t)}, nil
}

// Arm sets what the owner wants to be told of a socket.
func (p *Poller) Arm(s Socket, _ Token, i Interest) error {
	s.stream.arm(i)
	return nil
}

// Detach takes a socket out of the poller and returns it as an ordinary connection.
func (p *Poller) Detach(s Socket) (net.Conn, error) { return s.stream.detach() }

// Read takes what has come. It returns [ErrAgain] when nothing has, and [io.EOF] at the end.
func (s Socket) Read(b []byte) (int, error) { return s.stream.read(b) }

// Write hands over as much of b as the socket takes and returns how much that was, with [ErrAgain] if it was not all.
func (s Socket) Write(b []byte) (int, error) { return s.stream.write(b) }

// CloseWrite does nothing: a stream has no half end.
func (s Socket) CloseWrite() {}

// Close closes a socket. What was written to it is still sent.
func (s Socket) Close() { s.stream.close() }

// RemoteAddr is the other end's address.
func (s Socket) RemoteAddr() netip.AddrPort { return addrPort(s.stream.conn.RemoteAddr()) }
