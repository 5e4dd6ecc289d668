package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleep is time.Sleep to some ten microseconds. The runtime wakes its sleepers by whole milliseconds, which would count
// as the edge's latency.
func sleep(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &t, nil) // woken by a signal, the caller looks at the clock and sleeps on
}
