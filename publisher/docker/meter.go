package docker

import (
	"math"
	"time"
)

// meter turns the samples of one container into figures: a rate is what lies
// between two samples, by the engine's clock.
type meter struct {
	started int64 // Unix milliseconds: of the run that the samples are from
	before  sample
	last    Stat
}

// measure is the figures as of a sample. The same sample again means the same
// figures again.
func (m *meter) measure(who subject, s sample) Stat {
	if who.started != m.started {
		// Another run has counters of its own; they may even be ahead of the last
		// run's by now.
		*m = meter{started: who.started}
	}
	if s.read.Equal(m.before.read) {
		return m.last
	}
	wall := s.read.Sub(m.before.read)
	if m.before.read.IsZero() {
		wall = 0
	}
	stat := Stat{ID: who.id, OnlineCPUs: s.onlineCPUs, MemoryBytes: s.memory, MemoryLimit: s.memoryLimit, PIDs: s.pids}
	if cpu := s.cpu - m.before.cpu; wall > 0 && cpu >= 0 {
		stat.CPUCores = rounded(cpu.Seconds()/wall.Seconds(), 4)
	}
	if s.network != nil {
		stat.ReceiveBytes, stat.TransmitBytes = &s.network.in, &s.network.out
		stat.ReceiveBytesPerSecond, stat.TransmitBytesPerSecond = s.network.rates(m.before.network, wall)
	}
	if s.disk != nil {
		stat.ReadBytes, stat.WriteBytes = &s.disk.in, &s.disk.out
		stat.ReadBytesPerSecond, stat.WriteBytesPerSecond = s.disk.rates(m.before.disk, wall)
	}
	m.before, m.last = s, stat
	return stat
}

// rates are in bytes per second, and unknown after a counter went back: one of
// an interface or a device that was there before is missing in the sum, or
// counts anew.
func (t traffic) rates(before *traffic, wall time.Duration) (in, out *float64) {
	if before == nil || wall <= 0 || t.in < before.in || t.out < before.out {
		return nil, nil
	}
	return rounded(float64(t.in-before.in)/wall.Seconds(), 2), rounded(float64(t.out-before.out)/wall.Seconds(), 2)
}

// rounded cuts the digits that measuring noise would fill, which are half the
// bytes of a message otherwise.
func rounded(v float64, digits int) *float64 {
	scale := math.Pow10(digits)
	v = math.Round(v*scale) / scale
	return &v
}
