//go:build unix

package docker

import "golang.org/x/sys/unix"

// signalNumber is the number of a signal by its name, such as SIGKILL; nil where there is none.
func signalNumber(name string) *int {
	if n := int(unix.SignalNum(name)); n > 0 {
		return &n
	}
	return nil
}
