package poll

import "golang.org/x/sys/unix"

// Descriptors is how many descriptors this process may have open at once; 0: not known.
func Descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}
