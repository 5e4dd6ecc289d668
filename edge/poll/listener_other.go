//go:build !linux

package poll

import (
	"net"
	"syscall"
)

func (o Options) control(_, _ string, _ syscall.RawConn) error { return nil }

type batch struct{}

func (batch) init(net.Listener)              {}
func (batch) close()                         {}
func (batch) ok() bool                       { return false }
func (batch) accept([]Accepted) (int, error) { panic("unreachable: no batches on this system") }

// refuse would answer a descriptor; there are none here.
func (Accepted) refuse([]byte) { panic("unreachable: no descriptors on this system") }

// Close closes a connection that no poller took.
func (a Accepted) Close() { a.conn.Close() }
