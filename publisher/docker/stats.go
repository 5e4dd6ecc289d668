package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidings/publisher"
)

// Stats is the payload of container-stats.
type Stats struct {
	IntervalSeconds float64 `json:"intervalSeconds"`
	Stats           []Stat  `json:"stats"` // by id
}

// Stat is what one running or paused container uses. What is unknown is absent;
// so are the rates of the first beat, and after a counter was reset.
type Stat struct {
	ID                     string   `json:"id"`
	CPUCores               *float64 `json:"cpuCores,omitempty"` // CPU time / wall time: 1 is one processor wholly
	OnlineCPUs             uint32   `json:"onlineCpus,omitempty"`
	MemoryBytes            *uint64  `json:"memoryBytes,omitempty"` // without inactive file cache
	MemoryLimit            *uint64  `json:"memoryLimit,omitempty"` // bytes; the machine's memory where there is no limit
	ReceiveBytes           *uint64  `json:"receiveBytes,omitempty"`
	TransmitBytes          *uint64  `json:"transmitBytes,omitempty"`
	ReceiveBytesPerSecond  *float64 `json:"receiveBytesPerSecond,omitempty"`
	TransmitBytesPerSecond *float64 `json:"transmitBytesPerSecond,omitempty"`
	ReadBytes              *uint64  `json:"readBytes,omitempty"`
	WriteBytes             *uint64  `json:"writeBytes,omitempty"`
	ReadBytesPerSecond     *float64 `json:"readBytesPerSecond,omitempty"`
	WriteBytesPerSecond    *float64 `json:"writeBytesPerSecond,omitempty"`
	PIDs                   *uint64  `json:"pids,omitempty"`
}

// subject is a container whose use is measured.
type subject struct {
	id      string
	started int64 // Unix milliseconds: tells one run from the next
	tap     *tap  // if its samples come as a stream
}

// Read is a beat of container-stats. There is none while there is no engine, nor
// while the engine has said nothing of any container yet.
func (s *Source) Read(ctx context.Context, emit publisher.Emit) error {
	v := s.view.Load()
	if v == nil {
		clear(s.meters)
		return nil
	}
	samples, failures := v.sample(ctx, max(s.interval, time.Second))
	stats := make([]Stat, 0, len(v.running))
	meters := make(map[string]*meter, len(v.running))
	var failed error
	for i, who := range v.running {
		m := s.meters[who.id]
		if m == nil {
			m = new(meter)
		}
		meters[who.id] = m
		switch err := failures[i]; {
		case err == nil:
			stats = append(stats, m.measure(who, samples[i]))
		case errors.Is(err, errNotYet), errors.Is(err, errNotRunning):
			s.metrics.missing.Inc()
		default:
			s.metrics.missing.Inc()
			failed = err
		}
	}
	s.meters = meters
	if len(stats) > 0 || len(v.running) == 0 {
		emit(publisher.Reading{Type: typeStats, Payload: Stats{IntervalSeconds: s.interval.Seconds(), Stats: stats}})
		return nil
	}
	if failed != nil && s.view.Load() == v { // else the engine, or all that ran, has gone meanwhile
		return fmt.Errorf("read statistics of %d containers, got none: %w", len(v.running), failed)
	}
	return nil
}

// sample takes a sample of each running container: from the taps, or by asking
// for all at once, for at most within.
func (v *view) sample(ctx context.Context, within time.Duration) ([]sample, []error) {
	samples, failures := make([]sample, len(v.running)), make([]error, len(v.running))
	if v.tapped {
		for i, who := range v.running {
			samples[i], failures[i] = who.tap.draw(time.Now())
		}
		return samples, failures
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	parallel(len(v.running), func(i int) {
		samples[i], failures[i] = v.engine.ask(ctx, v.running[i].id)
	})
	return samples, failures
}
