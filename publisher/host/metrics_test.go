package host

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMetrics_FirstBeatHasValuesButNoRates(t *testing.T) {
	got := mustBeat[Metrics](t, newMachine(t).metrics())
	number := func(n uint64) *uint64 { return &n }
	share := func(r float64) *float64 { return &r }
	want := Metrics{
		IntervalSeconds: 1, Host: "web-1.example.org",
		CPU:    &CPU{LogicalCount: 2},
		Load:   []float64{0.52, 0.48, 0.40},
		Memory: &Memory{16384000000, number(6717440000), number(9666560000), number(2048000000), number(6400000000), number(512000000), share(0.41)},
		Swap:   &Swap{4096000000, number(1024000000), share(0.25)},
		Disks: []Disk{
			{Device: "cciss/c0d0", ReadBytes: 56 * 512},
			{Device: "nvme0n1", ReadBytes: 80000 * 512, WriteBytes: 160000 * 512},
		},
		Networks: []Network{
			{Interface: "eth0", ReceiveBytes: 1000000, TransmitBytes: 500000, ReceivePackets: 2000, TransmitPackets: 1500,
				ReceiveErrors: 1, TransmitErrors: 3, ReceiveDropped: 2, TransmitDropped: 4},
			{Interface: "wg0", ReceiveBytes: 300, TransmitBytes: 200, ReceivePackets: 3, TransmitPackets: 2},
		},
		Temperatures: []Temperature{
			{"coretemp_core_0", 54, share(95), share(105)},
			{"nvme_composite", 38.9, nil, nil},
			{"nvme_composite_2", 38.9, nil, nil},
		},
		Pressure:      &Pressure{&Stall{share(0.01), nil}, &Stall{share(0), share(0)}, &Stall{share(0.02), share(0.01)}},
		UptimeSeconds: number(12345),
		Processes:     &Processes{Count: 7},
	}
	for _, f := range [][2]string{
		{"/", "/dev/nvme0n1p2 ext4"}, {"/boot/efi", "/dev/nvme0n1p1 vfat"}, {"/home", "/dev/nvme1n1 btrfs"},
		{"/mnt/disk", "/dev/sdb1 ext4"}, {"/mnt/my share", "filer:/export nfs4"},
	} {
		device, kind, _ := strings.Cut(f[1], " ")
		want.Filesystems = append(want.Filesystems, Filesystem{f[0], device, kind, 1000, 600, 300, share(0.6667)})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", show(got), show(want))
	}
}

func TestMetrics_OnePartThatFailsHarmsNoOther(t *testing.T) {
	for _, part := range []struct {
		remove, named string
		gone          func(Metrics) bool
	}{
		{"proc/stat", "cpu", func(m Metrics) bool { return m.CPU == nil }},
		{"proc/meminfo", "memory", func(m Metrics) bool { return m.Memory == nil && m.Swap == nil }},
		{"proc/diskstats", "disks", func(m Metrics) bool { return m.Disks == nil }},
		{"proc/1/net", "networks", func(m Metrics) bool { return m.Networks == nil }},
		{"proc/1/mountinfo", "filesystems", func(m Metrics) bool { return m.Filesystems == nil }},
		{"proc/uptime", "uptime", func(m Metrics) bool { return m.UptimeSeconds == nil }},
	} {
		t.Run(part.named, func(t *testing.T) {
			host := newMachine(t)
			source := host.metrics()
			host.remove(part.remove)
			m, err := beat[Metrics](t, source)
			if err == nil || !strings.Contains(err.Error(), part.named+": ") {
				t.Errorf("the error doesn't name %s: %v", part.named, err)
			}
			if !part.gone(m) {
				t.Errorf("what can't be read is there: %s", show(m))
			}
			if m.Load == nil || m.Pressure == nil || m.Processes == nil || m.Temperatures == nil {
				t.Errorf("something else is missing too: %s", show(m))
			}
		})
	}
}

// What a kernel lacks is absent, and no error.
func TestMetrics_AbsentIsNoError(t *testing.T) {
	host := newMachine(t)
	host.remove("proc/pressure")
	host.remove("sys/class/hwmon")
	host.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 400 kB\n")
	m := mustBeat[Metrics](t, host.metrics())
	if m.Pressure != nil || m.Temperatures != nil || m.Swap != nil || m.Memory.Available != nil || m.Memory.Utilization != nil {
		t.Errorf("something is known that can't be: %s", show(m))
	}
	if m.Memory.Limit != 1000<<10 || *m.Memory.Free != 400<<10 {
		t.Errorf("memory %s", show(m.Memory))
	}
}

func TestMetrics_NoSwapHasLimitZeroAndNoUtilization(t *testing.T) {
	host := newMachine(t)
	host.write("proc/meminfo", "MemTotal: 1000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
	s := mustBeat[Metrics](t, host.metrics()).Swap
	if s == nil || s.Limit != 0 || s.Used == nil || *s.Used != 0 || s.Utilization != nil {
		t.Errorf("swap %s", show(s))
	}
}

// One whole beat takes a few milliseconds at most, so a publisher costs its host
// well below a hundredth of a core.
func TestMetrics_BeatCostsMilliseconds(t *testing.T) {
	sources, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	fastest := time.Hour
	for range 20 { // the fastest, since the others may have waited for a busy machine
		start := time.Now()
		if _, err := beat[Metrics](t, sources[0]); err != nil {
			t.Skip("this machine hides something: ", err)
		}
		fastest = min(fastest, time.Since(start))
	}
	if fastest > 10*time.Millisecond {
		t.Errorf("the fastest of 20 beats took %v", fastest)
	}
	t.Logf("the fastest of 20 beats took %v", fastest)
}

func BenchmarkMetrics_Beat(b *testing.B) {
	sources, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	s := sources[0].(*metricsSource)
	s.processes.next = time.Time{}
	for b.Loop() {
		s.processes.next = time.Time{} // each with a scan of the processes, as if they were few
		if _, err := s.read(s.paths.tell(b.Context())); err != nil {
			b.Log(err)
		}
	}
}

func TestConfig_ValidateNamesEveryFault(t *testing.T) {
	err := Config{Interval: time.Millisecond, Proc: "/nowhere", Sys: "sys", Root: "/"}.Validate()
	for _, key := range []string{"interval: ", "proc: ", "sys: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%q is not in: %v", key, err)
		}
	}
	if strings.Contains(err.Error(), "root") {
		t.Errorf("root is right, but: %v", err)
	}
	if _, err := New(Config{Interval: time.Millisecond}); err == nil {
		t.Error("New took a faulty configuration")
	}
	if errors.Is(Config{}.Validate(), errTest) || (Config{}).Validate() != nil {
		t.Error("the defaults are refused")
	}
}
