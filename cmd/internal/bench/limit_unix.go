//go:build unix

package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// enoughDescriptors says whether this process may open so many connections. The Go runtime has raised the soft limit to
// the hard one already.
func enoughDescriptors(clients int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // the connections will tell
	}
	if need := uint64(clients + spare); uint64(limit.Cur) < need {
		return fmt.Errorf("%w: %s clients need %s file descriptors, and this process may open %s: raise the limit (as root: ulimit -Hn %d; "+
			"for a login: nofile in /etc/security/limits.conf; in a container: --ulimit nofile=%d), or take fewer with --clients",
			ErrNoDescriptors, thousands(clients), thousands(int(need)), thousands(int(limit.Cur)), need, need)
	}
	return nil
}
