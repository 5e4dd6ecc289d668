package host

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/load"
)

func readLoad(ctx context.Context) ([]float64, error) {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return []float64{avg.Load1, avg.Load5, avg.Load15}, nil
}

// readUptime reads the mounted /proc; gopsutil would ask the own system's clock,
// which a time namespace may have shifted.
func readUptime(p paths) (*uint64, error) {
	seconds, err := parseUptime(fileSays(p.inProc("uptime")))
	if err != nil {
		return nil, err
	}
	return &seconds, nil
}

// parseUptime takes the first number of proc_uptime(5), in whole seconds.
func parseUptime(text string) (uint64, error) {
	first, _, _ := strings.Cut(text, " ")
	seconds, _, _ := strings.Cut(first, ".")
	n, err := strconv.ParseUint(seconds, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("uptime %.40q: %w", text, err)
	}
	return n, nil
}
