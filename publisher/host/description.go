package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"

	"tidings/publisher"
)

const (
	// describeEvery is a third of the time after which a host that says nothing
	// counts as gone.
	describeEvery = 5 * time.Second
	// factsKeep is how long what seldom changes is not read again.
	factsKeep = 5 * time.Minute
)

// descriptionSource says what the host is, and by saying it that it is there.
type descriptionSource struct {
	paths    paths
	runtimes func() []publisher.Runtime

	// Owned by Read.
	facts   Description
	factsAt time.Time
}

func newDescriptionSource(c Config, p paths) *descriptionSource {
	return &descriptionSource{
		paths: p, runtimes: c.Runtimes,
		facts: Description{Name: c.Host, PublisherVersion: c.Version, Actions: c.Actions},
	}
}

func (s *descriptionSource) Name() string            { return "host" }
func (s *descriptionSource) Interval() time.Duration { return describeEvery }

// Read emits in any case: a host that can't say what it is made of is still there.
func (s *descriptionSource) Read(ctx context.Context, emit publisher.Emit) error {
	var err error
	if s.factsAt.IsZero() || time.Since(s.factsAt) >= factsKeep {
		err = s.readFacts(s.paths.tell(ctx))
		s.factsAt = time.Now() // what failed is said once, and tried again with the rest
	}
	d := s.facts
	if s.runtimes != nil {
		d.Runtimes = s.runtimes()
	}
	emit(publisher.Reading{Type: "host", Payload: d})
	return err
}

func (s *descriptionSource) readFacts(ctx context.Context) error {
	var faults []error
	part := func(name string, read func() error) {
		if err := read(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	s.facts.OS = runtime.GOOS
	s.facts.ID = readID(s.paths)
	part("platform", func() (err error) {
		if runtime.GOOS != "linux" {
			s.facts.Platform, _, s.facts.PlatformVersion, err = host.PlatformInformationWithContext(ctx)
			return err
		}
		s.facts.Platform, s.facts.PlatformVersion, err = readOSRelease(s.paths)
		return err
	})
	// The kernel is the same in every container.
	part("kernel", func() (err error) { s.facts.Kernel, err = host.KernelVersionWithContext(ctx); return })
	part("arch", func() error {
		arch, err := host.KernelArch()
		s.facts.Arch = archName(arch)
		return err
	})
	part("cpu model", func() error {
		info, err := cpu.InfoWithContext(ctx)
		s.facts.CPUModel = cpuModel(info)
		return err
	})
	part("physical cores", func() (err error) {
		s.facts.PhysicalCores, err = cpu.CountsWithContext(ctx, false)
		return err
	})
	part("boot time", func() (err error) { s.facts.BootTime, err = readBootTime(s.paths); return })
	return errors.Join(faults...)
}

// readBootTime takes procfs: gopsutil keeps the first answer for the whole
// process, and inside a container derives it from the clock.
func readBootTime(p paths) (int64, error) {
	fs, err := procfs.NewFS(p.proc)
	if err != nil {
		return 0, err
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0, err
	}
	return int64(stat.BootTime) * 1000, nil
}

// archName is Go's and OpenTelemetry's word for what uname(2) calls a machine.
func archName(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i486", "i586", "i686":
		return "386"
	case "armv6l", "armv7l", "armv8l":
		return "arm"
	}
	return machine
}

func cpuModel(info []cpu.InfoStat) string {
	if len(info) == 0 || info[0].ModelName == "Undefined" { // gopsutil's word for an ARM core that it doesn't know
		return ""
	}
	return info[0].ModelName
}
