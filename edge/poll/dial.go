package poll

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DialOptions are for connections that are opened from here.
type DialOptions struct {
	// ReceiveBuffer is SO_RCVBUF in bytes, as given to the kernel, which doubles it. It is set before connecting, so that
	// the other side is never offered more. 0, and on systems other than Linux, leaves the system's choice.
	ReceiveBuffer int
	// Local is the address to connect from, for those who open more connections to one address than a machine has ports
	// on one of its own. Unset, the system chooses.
	Local netip.Addr
}

// Dial opens a TCP connection as a client. What it returns is an ordinary connection, for a handshake that may block;
// [Bare] makes it one for a poller.
func Dial(ctx context.Context, addr string, o DialOptions) (net.Conn, error) {
	d := net.Dialer{Control: o.control, KeepAlive: -1} // the heartbeat tells who is gone
	if o.Local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.Local, 0))
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return c, nil
}

// Bare turns a connection into one that a poller can take, as cheaply as it allows: a TCP connection becomes a
// descriptor where descriptors are polled, everything else goes the goroutines' way. The connection is not
// to be used any more; nobody may be reading it.
func Bare(c net.Conn) (Accepted, error) {
	_ = c.SetDeadline(time.Time{})
	return bare(c)
}
