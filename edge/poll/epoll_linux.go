package poll

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller watches sockets for one goroutine, its owner.
type Poller struct {
	// Any goroutine.
	asleep  atomic.Bool // the owner waits, or is about to, and has to be woken
	streams streams

	// The owner's.
	fd     int                // the sockets' epoll set
	gate   gate               // through which the owner is woken
	pass   func(uintptr) bool // passed, made once so that a wait allocates nothing
	rest   time.Time          // sockets are left alone until then; zero: they are not
	events []unix.EpollEvent
	ready  int
	turn   bool // streams come first in this wait
	err    error
}

// New opens a poller.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	p := &Poller{fd: fd}
	if err := p.gate.init(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	p.pass = func(uintptr) bool { return p.passed() }
	p.streams.init(p.Wake)
	return p, nil
}

// Close ends the poller. Sockets still in it must have been closed by their owner; streams are waited for.
func (p *Poller) Close() error {
	p.streams.wait()
	unix.Close(p.fd)
	return p.gate.close()
}

// look asks the kernel once, without waiting, and so without telling Go's scheduler (see [Quiet]).
func look(fd int, events []unix.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll wait: %w", errno)
}

// look reports whether there is something to tell.
func (p *Poller) look() bool {
	p.ready, p.err = look(p.fd, p.events)
	return p.ready > 0 || p.err != nil
}

// passed is look for an owner that sleeps: the gate is asked first, and opened again if there was nothing behind it.
func (p *Poller) passed() bool {
	for {
		passed, err := p.gate.passed()
		if !passed && err == nil {
			return false
		}
		if err == nil && !p.look() {
			if err = p.gate.unlock(); err == nil {
				continue
			}
		}
		p.err = errors.Join(p.err, err)
		return true
	}
}

// Rest has sockets left alone until a time, so that those that become ready meanwhile are told of together and wake nobody one by one.
// Streams go on.
func (p *Poller) Rest(until time.Time) error {
	p.rest = until
	return p.gate.lock()
}

// Wait fills events with sockets that are ready and returns how many. With none it waits until there is one, until the
// time given (zero: for ever), or until [Poller.Wake]. Before it goes to sleep it asks idle, if given:
// what others left for the owner before they looked whether it sleeps is not missed so.
func (p *Poller) Wait(events []Event, until time.Time, idle func() bool) (int, error) {
	if len(p.events) != len(events) {
		p.events = make([]unix.EpollEvent, len(events))
	}
	// Streams and descriptors take turns, or many busy ones of a kind would starve the other.
	if p.turn = !p.turn; p.turn {
		if n := p.streams.take(events); n > 0 {
			return n, nil
		}
	}
	if p.resting() {
		end := p.rest
		if !until.IsZero() && until.Before(end) {
			end = until
		}
		if err := p.sleep(end, idle); err != nil {
			return 0, err
		}
		if p.resting() {
			return p.streams.take(events), p.err
		}
	}
	if !p.look() && (until.IsZero() || time.Now().Before(until)) {
		if err := p.sleep(until, idle); err != nil {
			return 0, err
		}
	}
	if p.err != nil {
		return 0, p.err
	}
	n := 0
	for _, e := range p.events[:p.ready] {
		events[n] = Event{
			Token:    Token(uint32(e.Fd)) | Token(uint32(e.Pad))<<32,
			Readable: e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			Writable: e.Events&unix.EPOLLOUT != 0,
			Broken:   e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0,
		}
		n++
	}
	if n == 0 {
		n = p.streams.take(events)
	}
	return n, nil
}

// resting reports whether sockets are left alone now.
func (p *Poller) resting() bool {
	if !p.rest.IsZero() && !time.Now().Before(p.rest) {
		p.rest = time.Time{}
	}
	return !p.rest.IsZero()
}

// sleep parks the owner in the runtime's poller. The order matters: the deadline first, then the word that
// the owner sleeps, then the last look at what came meanwhile. Whoever comes after that finds the word.
func (p *Poller) sleep(until time.Time, idle func() bool) error {
	if err := p.gate.wakeAt(until); err != nil {
		return fmt.Errorf("set epoll deadline: %w", err)
	}
	p.asleep.Store(true)
	defer p.asleep.Store(false)
	if (idle != nil && !idle()) || p.streams.pending() {
		return nil
	}
	if p.rest.IsZero() {
		if err := p.gate.unlock(); err != nil {
			return err
		}
	}
	err := p.gate.sleep(p.pass)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("wait for epoll: %w", err)
	}
	return nil
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// Wake makes a waiting owner return from [Poller.Wait]. Any goroutine may call it, as often as it likes: while the
// owner is awake it costs one atomic load.
func (p *Poller) Wake() {
	if p.asleep.Load() && p.asleep.CompareAndSwap(true, false) {
		// An error means that the poller is closed and nobody waits.
		_ = p.gate.wakeAt(past)
	}
}

// Add takes a connection in, for reading.
func (p *Poller) Add(a Accepted, t Token) (Socket, error) {
	if a.conn != nil {
		return Socket{fd: -1, stream: p.streams.start(a.conn, t)}, nil
	}
	s := Socket{fd: int32(a.fd)}
	if err := p.ctl(unix.EPOLL_CTL_ADD, s, t, Readable); err != nil {
		return Socket{}, err
	}
	return s, nil
}

// Arm sets what the owner wants to be told of a socket.
func (p *Poller) Arm(s Socket, t Token, i Interest) error {
	if s.stream != nil {
		s.stream.arm(i)
		return nil
	}
	return p.ctl(unix.EPOLL_CTL_MOD, s, t, i)
}

func (p *Poller) ctl(op int, s Socket, t Token, i Interest) error {
	ev := unix.EpollEvent{Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	if i&Readable != 0 {
		ev.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if i&Writable != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.fd, op, int(s.fd), &ev); err != nil {
		return fmt.Errorf("epoll ctl: %w", err)
	}
	return nil
}
