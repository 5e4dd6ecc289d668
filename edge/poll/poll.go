package poll

import (
	"errors"
	"net"
	"net/netip"
)

// ErrAgain says that a socket can't be read or written now; an event will announce when it can.
var ErrAgain = errors.New("poll: not ready")

// Token names a socket in events. It is the owner's: this package never looks into it.
type Token uint64

// Event says what a socket is ready for. A socket that failed or was hung up is reported as readable: the read says why.
type Event struct {
	Token    Token
	Readable bool
	Writable bool
	Broken   bool // both directions have ended; it is announced until the socket is closed, whatever the interest
}

// Interest is what an owner wants to be told of.
type Interest uint8

// The interests; they can be combined. A socket without any reports only its failure.
const (
	Readable Interest = 1 << iota
	Writable
)

// Accepted is a connection that a [Listener] took and no poller has yet. It must be added to one, or closed.
type Accepted struct {
	fd   int        // a descriptor, or -1
	peer netip.Addr // of a descriptor
	conn net.Conn   // otherwise
}

// Peer is the address of the other end; the zero address of what has none, such as a pipe.
func (a Accepted) Peer() netip.Addr {
	if a.conn != nil {
		return addrPort(a.conn.RemoteAddr()).Addr()
	}
	return a.peer
}

// FromConn makes any connection one that a poller can take, by the goroutine transport.
func FromConn(c net.Conn) Accepted { return Accepted{fd: -1, conn: c} }

// Socket is a connection in a poller's care. It is a value; copies are the same socket. Its methods
// are for the poller's owner only.
type Socket struct {
	fd     int32   // -1: by stream
	stream *stream // nil: by descriptor
}
