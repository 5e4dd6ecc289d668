package host

import (
	"errors"

	"github.com/prometheus/procfs"
)

// readMemory takes procfs rather than gopsutil: it tells a missing line from 0,
// and has swap as the mounted /proc says, not as the own container's system call.
func readMemory(p paths) (*Memory, *Swap, error) {
	fs, err := procfs.NewFS(p.proc)
	if err != nil {
		return nil, nil, err
	}
	info, err := fs.Meminfo()
	if err != nil {
		return nil, nil, err
	}
	memory := memoryOf(info)
	if memory == nil {
		return nil, nil, errors.New("meminfo has no MemTotal")
	}
	return memory, swapOf(info), nil
}

func memoryOf(info procfs.Meminfo) *Memory {
	if info.MemTotalBytes == nil {
		return nil
	}
	m := &Memory{
		Limit:     *info.MemTotalBytes,
		Available: info.MemAvailableBytes, // absent before Linux 3.14
		Free:      info.MemFreeBytes,
		Buffers:   info.BuffersBytes,
		Cached:    info.CachedBytes,
	}
	if info.CachedBytes != nil && info.SReclaimableBytes != nil {
		cached := *info.CachedBytes + *info.SReclaimableBytes
		m.Cached = &cached
	}
	if m.Available != nil && *m.Available <= m.Limit {
		used := m.Limit - *m.Available
		m.Used, m.Utilization = &used, ratio(float64(used), float64(m.Limit))
	}
	return m
}

func swapOf(info procfs.Meminfo) *Swap {
	if info.SwapTotalBytes == nil {
		return nil // a kernel without swap
	}
	s := &Swap{Limit: *info.SwapTotalBytes}
	if info.SwapFreeBytes != nil && *info.SwapFreeBytes <= s.Limit {
		used := s.Limit - *info.SwapFreeBytes
		s.Used, s.Utilization = &used, ratio(float64(used), float64(s.Limit))
	}
	return s
}
