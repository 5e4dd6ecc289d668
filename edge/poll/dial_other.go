//go:build !linux

package poll

import (
	"net"
	"syscall"
)

func (o DialOptions) control(_, _ string, _ syscall.RawConn) error { return nil }

func bare(c net.Conn) (Accepted, error) { return FromConn(c), nil }
