package poll

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read takes what has come. It returns [ErrAgain] when nothing has, and [io.EOF] at the end.
func (s Socket) Read(b []byte) (int, error) {
	if s.stream != nil {
		return s.stream.read(b)
	}
	for {
		n, errno := transfer(unix.SYS_RECVFROM, s.fd, b)
		switch {
		case errno == 0 && n == 0 && len(b) > 0:
			return 0, io.EOF
		case errno == 0:
			return n, nil
		case errno == unix.EAGAIN:
			return 0, ErrAgain
		case errno != unix.EINTR:
			return 0, fmt.Errorf("read: %w", errno)
		}
	}
}

// Write hands over as much of b as the socket takes and returns how much that was, with [ErrAgain] if it was not all.
func (s Socket) Write(b []byte) (int, error) {
	if s.stream != nil {
		return s.stream.write(b)
	}
	for {
		n, errno := transfer(unix.SYS_SENDTO, s.fd, b)
		switch {
		case errno == 0 && n < len(b), errno == unix.EAGAIN:
			return max(n, 0), ErrAgain
		case errno == 0:
			return n, nil
		case errno != unix.EINTR:
			return 0, fmt.Errorf("write: %w", errno)
		}
	}
}

// transfer is recvfrom(2) or sendto(2) without telling the scheduler: the socket is non-blocking, so the call
// takes some microseconds at most, and the bookkeeping of a system call that may block is saved on each delivery.
// Unlike read(2) and write(2) these don't look at what any file has and sockets have no use for. A receive takes no notice of
// MSG_NOSIGNAL.
func transfer(call uintptr, fd int32, b []byte) (int, syscall.Errno) {
	var p unsafe.Pointer
	if len(b) > 0 {
		p = unsafe.Pointer(&b[0])
	}
	n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(p), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// RemoteAddr asks for the other end's address. It is not kept: few ever need it.
func (s Socket) RemoteAddr() netip.AddrPort {
	if s.stream != nil {
		return addrPort(s.stream.conn.RemoteAddr())
	}
	sa, err := unix.Getpeername(int(s.fd))
	if err != nil {
		return netip.AddrPort{}
	}
	return sockaddr(sa)
}

// sockaddr is an address as the kernel tells it.
func sockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// CloseWrite tells the other end that nothing more comes, and goes on reading. A stream has no such half end.
func (s Socket) CloseWrite() {
	if s.stream == nil {
		_ = unix.Shutdown(int(s.fd), unix.SHUT_WR) // an error means that the other end is gone
	}
}

// Close closes a socket. What was written to it is still sent.
func (s Socket) Close() {
	if s.stream != nil {
		s.stream.close()
		return
	}
	unix.Close(int(s.fd)) // leaves the epoll set by that
}

// Detach takes a socket out of the poller and returns it as an ordinary connection.
func (p *Poller) Detach(s Socket) (net.Conn, error) {
	if s.stream != nil {
		return s.stream.detach()
	}
	// FileConn works on a copy of the descriptor, which stays non-blocking; ours is closed and
	// leaves the epoll set explicitly, since the copy would keep it there.
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(s.fd), nil)
	f := os.NewFile(uintptr(s.fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("detach socket: %w", err)
	}
	return c, nil
}
