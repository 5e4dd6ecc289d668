package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidings/publisher"
)

// slowWait is how long a beat waits for what may be slow; at most a quarter of
// the interval, so that a dead mount delays no beat into the next.
const slowWait = 200 * time.Millisecond

// metricsSource reads everything that changes from beat to beat.
type metricsSource struct {
	host     string
	interval time.Duration
	paths    paths

	// Owned by Read: what the beat before found, to take differences.
	cpu          cpuReader
	disks        diskReader
	networks     networkReader
	processes    processReader
	filesystems  filesystemReader
	temperatures *slow[[]Temperature]
}

func newMetricsSource(c Config, p paths) *metricsSource {
	return &metricsSource{
		host: c.Host, interval: c.Interval, paths: p,
		disks:        diskReader{paths: p},
		networks:     networkReader{paths: p},
		processes:    processReader{paths: p},
		filesystems:  filesystemReader{paths: p, usage: readUsage},
		temperatures: newTemperatures(p),
	}
}

func (s *metricsSource) Name() string            { return "metrics" }
func (s *metricsSource) Interval() time.Duration { return s.interval }

// Read emits what could be read, and returns what could not as one error.
func (s *metricsSource) Read(ctx context.Context, emit publisher.Emit) error {
	m, err := s.read(s.paths.tell(ctx))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	emit(publisher.Reading{Type: "metrics", Payload: m})
	return err
}

func (s *metricsSource) read(ctx context.Context) (*Metrics, error) {
	m := &Metrics{IntervalSeconds: s.interval.Seconds(), Host: s.host}
	var faults []error
	part := func(name string, read func() error) {
		if err := read(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	// What may be slow starts first and is collected last.
	start := time.Now()
	pending := []<-chan struct{}{s.temperatures.ask(start)}
	asked, filesystemsErr := s.filesystems.ask(start)
	pending = append(pending, asked...)

	part("cpu", func() (err error) { m.CPU, err = s.cpu.read(ctx); return })
	part("load", func() (err error) { m.Load, err = readLoad(ctx); return })
	part("memory", func() (err error) { m.Memory, m.Swap, err = readMemory(s.paths); return })
	part("disks", func() (err error) { m.Disks, err = s.disks.read(); return })
	part("networks", func() (err error) { m.Networks, err = s.networks.read(ctx); return })
	part("pressure", func() (err error) { m.Pressure, err = readPressure(s.paths); return })
	part("uptime", func() (err error) { m.UptimeSeconds, err = readUptime(s.paths); return })
	part("processes", func() (err error) { m.Processes, err = s.processes.read(); return })

	enough := time.NewTimer(min(slowWait, s.interval/4))
	defer enough.Stop()
	await(pending, enough.C)
	now := time.Now()
	part("filesystems", func() (err error) {
		if filesystemsErr == nil {
			m.Filesystems, err = s.filesystems.answers(now)
		}
		return errors.Join(filesystemsErr, err)
	})
	part("temperatures", func() (err error) { m.Temperatures, err, _ = s.temperatures.last(now); return })
	return m, errors.Join(faults...)
}
