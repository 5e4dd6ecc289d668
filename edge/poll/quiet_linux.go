package poll

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Quiet makes the reads of a TCP connection such that Go's scheduler is not told of them; anything else it returns as it is.
//
// A system call that the scheduler is told of wakes the runtime's monitor, if all was idle. That looks then every 20 µs whether the
// call takes long, for as long as there is something to do: some 40 times until a message has reached 1,000 clients, a twentieth of what
// that costs (TestLoad_AMessageWakesFewThreads in cmd/internal/e2e). This read does not block, so there is nothing to look after.
func Quiet(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	q := &quiet{TCPConn: t, raw: raw}
	q.take = func(fd uintptr) bool {
		for {
			q.n, q.errno = transfer(unix.SYS_RECVFROM, int32(fd), q.into)
			if q.errno != unix.EINTR {
				return q.errno != unix.EAGAIN
			}
		}
	}
	return q
}

type quiet struct {
	*net.TCPConn
	raw  syscall.RawConn
	take func(uintptr) bool // made once so that a read allocates nothing

	mu    sync.Mutex // of a read
	into  []byte
	n     int
	errno syscall.Errno
}

func (q *quiet) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.into = b
	err := q.raw.Read(q.take)
	q.into = nil
	switch {
	case err != nil:
		return 0, err
	case q.errno != 0:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: q.LocalAddr(), Addr: q.RemoteAddr(), Err: os.NewSyscallError("read", q.errno)}
	case q.n == 0:
		return 0, io.EOF
	}
	return q.n, nil
}
