package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is what the process' threads have used, those that have ended included, to the nanosecond: /proc/PID/stat counts
// in hundredths of a second.
func cpu(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the complement of the process shifted by three, and CPUCLOCK_SCHED.
	clock := int32(^pid<<3 | 2)
	var t unix.Timespec
	switch err := unix.ClockGettime(clock, &t); {
	case errors.Is(err, unix.EINVAL):
		return 0, fmt.Errorf("there is no process %d", pid)
	case err != nil:
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// resident is how many bytes of memory a process has now. smaps_rollup is exact, where statm may lag by megabytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if fields := bytes.Fields(lines.Bytes()); len(fields) == 3 && string(fields[0]) == "Rss:" {
			kilobytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("memory of process %d: smaps_rollup does not tell", pid)
}
