package poll

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gate is where the owner of an epoll set sleeps: a second set, with the first as its only member, in the care of the runtime's
// poller. Open, it lets the runtime know that a socket is ready, once; then it is shut until it is opened again (EPOLLONESHOT).
//
// Were the sockets' set in the runtime's care itself, each socket that becomes ready would wake a thread of the runtime, also
// while the owner works or rests and has no use for it.
type gate struct {
	set  int // of the sockets
	fd   int
	open bool
	file *os.File // fd, in the runtime's poller
	raw  syscall.RawConn
	one  [1]unix.EpollEvent
}

func (g *gate) init(set int) (err error) {
	if g.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("open epoll: %w", err)
	}
	// A non-blocking descriptor is what makes os.NewFile hand it to the runtime's poller.
	if err = unix.SetNonblock(g.fd, true); err != nil {
		unix.Close(g.fd)
		return fmt.Errorf("open epoll: %w", err)
	}
	g.file, g.set = os.NewFile(uintptr(g.fd), "epoll"), set
	if g.raw, err = g.file.SyscallConn(); err == nil {
		err = g.ctl(unix.EPOLL_CTL_ADD, unix.EPOLLIN)
	}
	if err != nil {
		g.file.Close()
		return fmt.Errorf("open epoll: %w", err)
	}
	g.open = true
	return nil
}

func (g *gate) ctl(op int, events uint32) error {
	if err := unix.EpollCtl(g.fd, op, g.set, &unix.EpollEvent{Events: events | unix.EPOLLONESHOT}); err != nil {
		return fmt.Errorf("epoll ctl: %w", err)
	}
	return nil
}

// unlock opens the gate. What is ready already passes it at once.
func (g *gate) unlock() error {
	if g.open {
		return nil
	}
	g.open = true
	return g.ctl(unix.EPOLL_CTL_MOD, unix.EPOLLIN)
}

// lock shuts the gate.
func (g *gate) lock() error {
	if !g.open {
		return nil
	}
	g.open = false
	return g.ctl(unix.EPOLL_CTL_MOD, 0)
}

// passed reports whether a socket was ready since the gate was opened, and the gate is shut by that.
func (g *gate) passed() (bool, error) {
	n, err := look(g.fd, g.one[:])
	if n > 0 {
		g.open = false
	}
	return n > 0, err
}

// sleep parks the owner until done, which is asked before and when something has passed the gate, or until the deadline that was set.
func (g *gate) sleep(done func(uintptr) bool) error { return g.raw.Read(done) }

// wakeAt sets when sleep ends at the latest; zero: when something has passed. Any goroutine may call it.
func (g *gate) wakeAt(t time.Time) error { return g.file.SetReadDeadline(t) }

func (g *gate) close() error { return g.file.Close() }
