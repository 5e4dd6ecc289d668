package host

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
)

func TestRates_FromMeasuredTime(t *testing.T) {
	start := time.Now()
	before := counters{start, []uint64{100, 5}}
	now := counters{start.Add(2500 * time.Millisecond), []uint64{1100, 5}}
	rates := now.perSecond(before)
	if len(rates) != 2 || rates[0] != 400 || rates[1] != 0 {
		t.Errorf("rates %v", rates)
	}
}

func TestRates_ResetOrWrapIsNeverASpike(t *testing.T) {
	start := time.Now()
	for name, c := range map[string]struct{ before, now counters }{
		"first reading":                 {counters{}, counters{start, []uint64{1 << 40}}},
		"one of the counters fell":      {counters{start, []uint64{10, 10}}, counters{start.Add(time.Second), []uint64{9, 1 << 40}}},
		"wrapped at 32 bits":            {counters{start, []uint64{math.MaxUint32}}, counters{start.Add(time.Second), []uint64{5}}},
		"no time passed":                {counters{start, []uint64{1}}, counters{start, []uint64{2}}},
		"another number of counters":    {counters{start, []uint64{1}}, counters{start.Add(time.Second), []uint64{2, 3}}},
		"the monotonic clock went back": {counters{start, []uint64{1}}, counters{start.Add(-time.Second), []uint64{2}}},
	} {
		if rates := c.now.perSecond(c.before); rates != nil {
			t.Errorf("%s: %v", name, rates)
		}
	}
}

// The devices' rates come from the same files' text, so a reset goes all the way
// through the parsers.
func TestDevices_ResetLeavesOneBeatWithoutRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine(t)
		network, disk := networkReader{paths: host.paths()}, diskReader{paths: host.paths()}
		step := func(received, sectors int) (Network, Disk) {
			time.Sleep(2 * time.Second)
			host.write("proc/1/net/dev", fmt.Sprintf("h\nh\n  eth0: %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", received))
			host.write("proc/diskstats", fmt.Sprintf("259 0 nvme0n1 0 0 %d 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\n", sectors, sectors))
			networks, err := network.read(host.paths().tell(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			disks, err := disk.read()
			if err != nil {
				t.Fatal(err)
			}
			return networks[0], disks[0]
		}
		for _, beat := range []struct {
			counter int
			bytes   float64 // per second; -1: absent
		}{{1000, -1}, {3000, 1000}, {3000, 0}, {500, -1}, {700, 100}} {
			n, d := step(beat.counter, beat.counter)
			if beat.bytes < 0 {
				if n.ReceiveBytesPerSecond != nil || d.ReadBytesPerSecond != nil || d.IOTimeRatio != nil {
					t.Errorf("at %d: %s %s", beat.counter, show(n), show(d))
				}
				continue
			}
			if n.ReceiveBytesPerSecond == nil || *n.ReceiveBytesPerSecond != beat.bytes ||
				*d.ReadBytesPerSecond != beat.bytes*512 || *d.IOTimeRatio != min(beat.bytes/1000, 1) {
				t.Errorf("at %d: %s %s", beat.counter, show(n), show(d))
			}
		}
	})
}

func TestCPU_SharesOfTheTimeBetweenTwoReadings(t *testing.T) {
	host := newMachine(t)
	var r cpuReader
	read := func() *CPU {
		c, err := r.read(host.paths().tell(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if first := read(); first.Utilization != nil || first.Modes != nil || first.Cores != nil {
		t.Errorf("the first reading has shares: %s", show(first))
	}
	// 200 ticks: user 20 and nice 10, system 10 and interrupts 10, iowait 20, steal 30, idle 100. Guest is in user.
	host.write("proc/stat", strings.Join([]string{
		"cpu  1020 110 510 8100 220 55 55 130 20 0",
		"cpu0 620 60 310 3910 100 25 25 50 20 0", // all busy but 10 of 50
		"cpu1 400 50 200 4190 120 30 30 80 0 0",  // 90 idle, 20 iowait, 5+5 interrupts, 30 steal
	}, "\n")+"\n")
	if got, want := show(read()), `{"utilization":0.4,"logicalCount":2,"modes":{"user":0.15,"system":0.1,"iowait":0.1,"steal":0.15},"cores":[0.8,0.2667]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// A core went away: where the others stand is not told.
	host.write("proc/stat", "cpu  1120 110 510 8200 220 55 55 130 20 0\ncpu0 720 60 310 3910 100 25 25 50 20 0\n")
	if c := read(); *c.Utilization != 0.5 || c.Cores != nil || c.LogicalCount != 1 {
		t.Errorf("after a core went: %s", show(c))
	}
	// A reset, such as a container moved to another host.
	host.write("proc/stat", "cpu  5 0 5 99000 0 0 0 0 0 0\ncpu0 5 0 5 99000 0 0 0 0 0 0\n")
	if c := read(); c.Utilization != nil || c.Modes != nil || c.Cores != nil {
		t.Errorf("after a reset: %s", show(c))
	}
}

func TestCPU_IowaitThatRunsBackwardsIsNoReset(t *testing.T) {
	before := cpu.TimesStat{CPU: "cpu-total", User: 10, System: 10, Idle: 100, Iowait: 5}
	now := cpu.TimesStat{CPU: "cpu-total", User: 11, System: 10, Idle: 101, Iowait: 4.5}
	if u := cpuUtilization(before, now); u == nil || *u != 0.5 {
		t.Errorf("utilization %s", show(u))
	}
	if u := cpuUtilization(before, before); u != nil {
		t.Errorf("no tick passed, but utilization %v", *u)
	}
}
