package poll

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets on the listening socket what each accepted one shall have.
func (o Options) control(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd, level, opt, value int) {
		if err == nil && value > 0 {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, opt, value))
		}
	}
	if cerr := c.Control(func(fd uintptr) {
		set(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		set(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer)
		set(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.Unsent)
	}); cerr != nil {
		return cerr
	}
	return err
}

// batch accepts descriptors directly, without the runtime's making a connection of each.
type batch struct {
	file  *os.File // the listening socket once more: the net package lets nobody wait on its own
	raw   syscall.RawConn
	spare int // a descriptor kept back, given up to turn a client away when there are none left
}

func (b *batch) init(l net.Listener) {
	b.spare = -1
	t, ok := l.(*net.TCPListener)
	if !ok {
		return
	}
	f, err := t.File()
	if err != nil {
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return
	}
	b.file, b.raw, b.spare = f, raw, openSpare()
}

// close makes accept return.
func (b *batch) close() {
	if b.file != nil {
		b.file.Close()
	}
}

func (b *batch) ok() bool { return b.raw != nil }

func (b *batch) accept(out []Accepted) (n int, err error) {
	rerr := b.raw.Read(func(lfd uintptr) bool {
		for n < len(out) {
			fd, sa, aerr := unix.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch aerr {
			case nil:
				out[n] = Accepted{fd: fd, peer: sockaddr(sa).Addr()}
				n++
			case unix.EAGAIN:
				return n > 0
			case unix.EINTR, unix.ECONNABORTED,
				unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH: // of the one that came: accept(2)
			case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
				if n == 0 {
					b.turnAway(int(lfd))
					err = ErrNoDescriptors
				}
				return true
			default:
				err = os.NewSyscallError("accept4", aerr)
				return true
			}
		}
		return true
	})
	if rerr != nil && b.spare >= 0 { // the listener is closed
		unix.Close(b.spare)
		b.spare = -1
	}
	if n == 0 && err == nil && rerr != nil {
		err = fmt.Errorf("accept: %w", errors.Join(rerr, net.ErrClosed))
	}
	return n, err
}

// turnAway answers the first waiting client with 503. Left in the queue it would wait in vain, and the
// listener would be announced again and again.
func (b *batch) turnAway(lfd int) {
	if b.spare >= 0 {
		unix.Close(b.spare)
	}
	if fd, _, err := unix.Accept4(lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
		Accepted{fd: fd}.refuse([]byte(full))
	}
	b.spare = openSpare()
}

func openSpare() int {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// refuse answers a descriptor, which never blocks.
func (a Accepted) refuse(answer []byte) {
	var request [requestMax]byte
	_, _ = unix.Read(a.fd, request[:]) // unread bytes would turn the close into a reset
	_, _ = unix.Write(a.fd, answer)
	unix.Close(a.fd)
}

// Close closes a connection that no poller took.
func (a Accepted) Close() {
	if a.conn != nil {
		a.conn.Close()
		return
	}
	unix.Close(a.fd)
}
