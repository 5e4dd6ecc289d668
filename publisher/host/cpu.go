package host

import (
	"context"
	"errors"

	"github.com/shirou/gopsutil/v4/cpu"
)

// cpuReader tells from the processors' cumulative times how busy they were since
// its last reading.
type cpuReader struct {
	total cpu.TimesStat
	cores []cpu.TimesStat
}

func (r *cpuReader) read(ctx context.Context) (*CPU, error) {
	total, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return nil, err
	}
	cores, err := cpu.TimesWithContext(ctx, true)
	if err != nil {
		return nil, err
	}
	if len(total) == 0 || len(cores) == 0 { // gopsutil's way to say that it could not read them
		return nil, errors.New("no processor times")
	}
	c := &CPU{
		LogicalCount: len(cores),
		Utilization:  cpuUtilization(r.total, total[0]),
		Modes:        cpuModes(r.total, total[0]),
		Cores:        coreUtilizations(r.cores, cores),
	}
	r.total, r.cores = total[0], cores
	return c, nil
}

// coreUtilizations is nil unless each core's is known: a position in the list is
// a core's only name, so a hole would move its neighbours.
func coreUtilizations(before, now []cpu.TimesStat) []float64 {
	if len(before) != len(now) {
		return nil // a core came or went
	}
	cores := make([]float64, len(now))
	for i := range now {
		u := cpuUtilization(before[i], now[i])
		if u == nil || before[i].CPU != now[i].CPU {
			return nil
		}
		cores[i] = *u
	}
	return cores
}

func cpuUtilization(before, now cpu.TimesStat) *float64 {
	d, ok := cpuDelta(before, now)
	if !ok {
		return nil
	}
	total := cpuTotal(d)
	return ratio(total-d.Idle-d.Iowait, total)
}

func cpuModes(before, now cpu.TimesStat) *CPUModes {
	d, ok := cpuDelta(before, now)
	if !ok {
		return nil
	}
	total := cpuTotal(d)
	return &CPUModes{
		User:   *ratio(d.User+d.Nice, total),
		System: *ratio(d.System+d.Irq+d.Softirq, total),
		Iowait: *ratio(d.Iowait, total),
		Steal:  *ratio(d.Steal, total),
	}
}

// cpuDelta is the time spent in each mode between two readings; false if that
// can't be told: there was no reading before, no tick since, or a reset.
func cpuDelta(before, now cpu.TimesStat) (cpu.TimesStat, bool) {
	if before.CPU == "" || now.User < before.User || now.System < before.System {
		return cpu.TimesStat{}, false
	}
	// The others may run a few ticks backwards without a reset (proc(5) says so
	// of iowait; idle does when a core returns), which is no time at all.
	since := func(a, b float64) float64 { return max(b-a, 0) }
	d := cpu.TimesStat{
		User:    now.User - before.User,
		System:  now.System - before.System,
		Nice:    since(before.Nice, now.Nice),
		Idle:    since(before.Idle, now.Idle),
		Iowait:  since(before.Iowait, now.Iowait),
		Irq:     since(before.Irq, now.Irq),
		Softirq: since(before.Softirq, now.Softirq),
		Steal:   since(before.Steal, now.Steal),
	}
	return d, cpuTotal(d) > 0
}

// cpuTotal leaves guest times out: the kernel has them in user and nice already.
func cpuTotal(t cpu.TimesStat) float64 {
	return t.User + t.System + t.Nice + t.Idle + t.Iowait + t.Irq + t.Softirq + t.Steal
}
