package poll

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func (o DialOptions) control(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if o.ReceiveBuffer > 0 {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer))
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// bare takes a second descriptor of the socket, non-blocking like the first, and lets the runtime have its own back.
func bare(c net.Conn) (Accepted, error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return FromConn(c), nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return Accepted{}, fmt.Errorf("take the descriptor: %w", err)
	}
	fd := -1
	if cerr := raw.Control(func(first uintptr) { fd, err = unix.FcntlInt(first, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return Accepted{}, fmt.Errorf("take the descriptor: %w", err)
	}
	c.Close() // the socket stays open by ours
	return Accepted{fd: fd}, nil
}
