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
	fd     int
	file   *os.File // fd, in the runtime's poller
	raw    syscall.RawConn
	poll   func(uintptr) bool // look, made once so that a wait allocates nothing
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
	// A non-blocking descriptor is what makes os.NewFile hand it to the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	p := &Poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	p.poll = func(uintptr) bool { return p.look() }
	p.streams.init(p.Wake)
	return p, nil
}

// Close ends the poller. Sockets still in it must have been closed by their owner; streams are waited for.
func (p *Poller) Close() error {
	p.streams.wait()
	return p.file.Close()
}

// look asks the kernel once, without waiting, and so without telling Go's scheduler (see [Quiet]). It reports whether there is
// something to tell.
func (p *Poller) look() bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	p.ready, p.err = int(n), nil
	if errno != 0 {
		p.ready = 0
	}
	if errno != 0 && errno != unix.EINTR {
		p.err = errno
	}
	return p.ready > 0 || p.err != nil
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
	if !p.look() && (until.IsZero() || time.Now().Before(until)) {
		if err := p.sleep(until, idle); err != nil {
			return 0, err
		}
	}
	if p.err != nil {
		return 0, fmt.Errorf("epoll wait: %w", p.err)
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

// sleep parks the owner in the runtime's poller. The order matters: the deadline first, then the word that
// the owner sleeps, then the last look at what came meanwhile. Whoever comes after that finds the word.
func (p *Poller) sleep(until time.Time, idle func() bool) error {
	if err := p.file.SetReadDeadline(until); err != nil {
		return fmt.Errorf("set epoll deadline: %w", err)
	}
	p.asleep.Store(true)
	defer p.asleep.Store(false)
	if (idle != nil && !idle()) || p.streams.pending() {
		return nil
	}
	err := p.raw.Read(p.poll)
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
		_ = p.file.SetReadDeadline(past)
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
