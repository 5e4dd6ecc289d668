//go:build unix

package edge_test

import (
	"errors"
	"syscall"
)

// narrow gives a socket a small receive buffer, and segments as on a network: with the loopback's of 64 KB so small a
// window opens in fits and starts.
func narrow(fd uintptr, receiveBuffer int) error {
	return errors.Join(
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer))
}
