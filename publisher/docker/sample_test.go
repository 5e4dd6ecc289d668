package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

func TestSample_OfEachEngine(t *testing.T) {
	for file, want := range map[string]string{
		"stats_docker_cgroup1.json": `cpu 1.050919025s of 2, memory 11759616 of 99999744, network 736/39596, disk unknown, 8 tasks`,
		"stats_docker_cgroup2.json": `cpu 5.120345s of 8, memory 45842432 of 16596234240, network 91210/42120, disk 41730048/8192000, 23 tasks`,
		"stats_podman.json":         `cpu 34.775996ms of 2, memory 12034048 of 100000000, network 0/0, disk unknown, 6 tasks`,
	} {
		s, err := parseSample(fixture(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := s.String(); got != want || s.read.IsZero() {
			t.Errorf("%s: got\n%s, want\n%s", file, got, want)
		}
	}
}

func TestSample_OfAContainerThatHasStoppedIsNone(t *testing.T) {
	if _, err := parseSample(fixture(t, "stats_docker_stopped.json")); !errors.Is(err, errNotRunning) {
		t.Error(err)
	}
}

func TestSample_WithoutALimitOrCacheOrNetwork(t *testing.T) {
	for text, want := range map[string]string{
		// No limit, in the words of control groups version 1.
		`{"read":"2026-01-01T00:00:00Z","memory_stats":{"usage":10,"limit":9223372036854771712}}`: `cpu 0s of 0, memory 10 of unknown, network unknown, disk unknown, unknown tasks`,
		// More cache than use: the two are not read at one moment.
		`{"read":"2026-01-01T00:00:00Z","memory_stats":{"usage":10,"stats":{"inactive_file":11}}}`: `cpu 0s of 0, memory 10 of unknown, network unknown, disk unknown, unknown tasks`,
		// Older engines list the processors instead of counting them.
		`{"read":"2026-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{"total_usage":7,"percpu_usage":[1,2,4]}},"blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":1},{"op":"Write","value":2},{"op":"Total","value":3}]}}`: `cpu 7ns of 3, memory unknown of unknown, network unknown, disk 1/2, unknown tasks`,
	} {
		s, err := parseSample([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.String(); got != want {
			t.Errorf("%s: got\n%s, want\n%s", text, got, want)
		}
	}
}

func FuzzSample(f *testing.F) {
	for _, file := range []string{"stats_docker_cgroup1.json", "stats_docker_cgroup2.json", "stats_podman.json", "stats_docker_stopped.json"} {
		f.Add(fixture(f, file), fixture(f, file))
	}
	f.Add([]byte(`{"read":"2026-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{"total_usage":18446744073709551615}}}`), []byte(`{"read":"9999-12-31T23:59:59Z","cpu_stats":{"cpu_usage":{"total_usage":1}}}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		m := new(meter)
		for _, text := range [][]byte{one, two} {
			s, err := parseSample(text)
			if err != nil {
				continue
			}
			if s.read.IsZero() || s.cpu < 0 {
				t.Errorf("%s", s)
			}
			stat := m.measure(subject{id: "1"}, s)
			for _, rate := range []*float64{stat.CPUCores, stat.ReceiveBytesPerSecond, stat.TransmitBytesPerSecond, stat.ReadBytesPerSecond, stat.WriteBytesPerSecond} {
				if rate != nil && !(*rate >= 0) {
					t.Errorf("a rate of %v", *rate)
				}
			}
			if _, err := json.Marshal(stat); err != nil {
				t.Error(err) // infinite, or no number
			}
		}
	})
}

func TestMeter_RatesAreBetweenTwoSamplesByTheEnginesClock(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(after time.Duration, cpu time.Duration, net, disk *traffic) sample {
		return sample{read: start.Add(after), cpu: cpu, network: net, disk: disk}
	}
	who := subject{id: "1", started: 5}
	m := new(meter)
	for _, c := range []struct {
		name string
		who  subject
		s    sample
		want string
	}{
		{"the first", who, at(0, time.Second, &traffic{100, 200}, nil), `{"id":"1","receiveBytes":100,"transmitBytes":200}`},
		{"two seconds later", who, at(2*time.Second, 2*time.Second, &traffic{300, 200}, &traffic{10, 0}),
			`{"id":"1","cpuCores":0.5,"receiveBytes":300,"transmitBytes":200,"receiveBytesPerSecond":100,"transmitBytesPerSecond":0,"readBytes":10,"writeBytes":0}`},
		{"the same again", who, at(2*time.Second, 2*time.Second, &traffic{300, 200}, &traffic{10, 0}),
			`{"id":"1","cpuCores":0.5,"receiveBytes":300,"transmitBytes":200,"receiveBytesPerSecond":100,"transmitBytesPerSecond":0,"readBytes":10,"writeBytes":0}`},
		{"an interface has gone", who, at(3*time.Second, 4*time.Second, &traffic{50, 900}, &traffic{30, 8}),
			`{"id":"1","cpuCores":2,"receiveBytes":50,"transmitBytes":900,"readBytes":30,"writeBytes":8,"readBytesPerSecond":20,"writeBytesPerSecond":8}`},
		{"the engine's clock was set back", who, at(1*time.Second, 5*time.Second, nil, nil), `{"id":"1"}`},
		{"and goes on", who, at(2*time.Second, 5500*time.Millisecond, nil, nil), `{"id":"1","cpuCores":0.5}`},
		{"the CPU counter was reset", who, at(3*time.Second, time.Millisecond, nil, nil), `{"id":"1"}`},
		{"another run that is ahead already", subject{id: "1", started: 6}, at(4*time.Second, time.Hour, nil, nil), `{"id":"1"}`},
		{"its second sample", subject{id: "1", started: 6}, at(5*time.Second, time.Hour+time.Second, nil, nil), `{"id":"1","cpuCores":1}`},
	} {
		got, err := json.Marshal(m.measure(c.who, c.s))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

func (s sample) String() string {
	number := func(n *uint64) string {
		if n == nil {
			return "unknown"
		}
		return strconv.FormatUint(*n, 10)
	}
	both := func(t *traffic) string {
		if t == nil {
			return "unknown"
		}
		return fmt.Sprintf("%d/%d", t.in, t.out)
	}
	return fmt.Sprintf("cpu %v of %d, memory %s of %s, network %s, disk %s, %s tasks",
		s.cpu, s.onlineCPUs, number(s.memory), number(s.memoryLimit), both(s.network), both(s.disk), number(s.pids))
}
