//go:build unix && !aix && !solaris

package embedded

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock of an open file, not of a process: a second server in this process does not get it either.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
