package bench

import (
	"fmt"
	"os"
	"time"
)

// usage is what some processes have used, taken together.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

// processes are those that are measured.
type processes []int

// look adds up what they have used so far.
func (ps processes) look() (usage, error) {
	var u usage
	for _, pid := range ps {
		used, err := cpu(pid)
		if err != nil {
			return usage{}, fmt.Errorf("--pid: %w", err)
		}
		rss, err := resident(pid)
		if err != nil {
			return usage{}, fmt.Errorf("--pid: %w", err)
		}
		u.cpu += used
		u.rss += rss
	}
	return u, nil
}

// ownCPU is what this process has used; 0 where that is not known.
func ownCPU() time.Duration {
	used, err := cpu(os.Getpid())
	if err != nil {
		return 0
	}
	return used
}
