package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Listen opens a TCP port. Its error says what to do next; flag is the one that would choose another address.
func Listen(ctx context.Context, address, flag string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	return listener, Taken(err, flag)
}

// Taken adds to an error of opening a port what to do about it. Other errors stay as they are.
func Taken(err error, flag string) error {
	_, ofPort := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return nil
	case IsTaken(err):
		return WithCode(ExitUnavailable, fmt.Errorf("%w: stop what listens there, or choose another address with %s", err, flag))
	case errors.Is(err, os.ErrPermission):
		return WithCode(ExitUnavailable, fmt.Errorf("%w: ports below 1024 are the system's; choose another with %s", err, flag))
	case !ofPort:
		return err
	}
	return fmt.Errorf("%w: choose an address of this machine with %s", err, flag)
}

// wsaAddressInUse is what Windows calls EADDRINUSE.
const wsaAddressInUse = syscall.Errno(10048)

// IsTaken says whether a port could not be opened because something else has it.
func IsTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaAddressInUse)
}

// IsLoopback says whether an address is reached from this machine alone.
func IsLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
