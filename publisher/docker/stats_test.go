package docker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"tidings/publisher"
	"tidings/publisher/docker/dockertest"
)

func TestStats_AreWhatTheContainerUses(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host()})
	c := engine.Run(t, dockertest.Spec{
		Name: "busy", Network: true, CPUs: 0.25, Memory: 100 << 20,
		Arguments: []string{"run", "-burn", "1", "-hold", "20000000", "-send", "50000"},
	})
	idle := engine.Run(t, dockertest.Spec{Name: "idle"})
	// Of several beats, since a busy machine may have no time for it in one.
	const beats = 5
	var whole []Stat
	a.until(t, "beats with rates", func() bool {
		whole = nil
		for _, s := range a.stats {
			if its := s.value.of(c.ID); its != nil && its.CPUCores != nil && its.ReceiveBytesPerSecond != nil && s.value.of(idle.ID) != nil {
				whole = append(whole, *its)
			}
		}
		return len(whole) >= beats
	})
	var cores, sent float64
	for _, s := range whole {
		cores += *s.CPUCores / float64(len(whole))
		sent += *s.TransmitBytesPerSecond / float64(len(whole))
	}
	last := whole[len(whole)-1]
	t.Logf("limited to 0.25 processors, sends 50 kB/s: %.3f processors, %.0f B/s; memory %d of %d, %d tasks, disk %v",
		cores, sent, *last.MemoryBytes, *last.MemoryLimit, *last.PIDs, last.WriteBytes)
	if cores < 0.05 || cores > 0.3 {
		t.Errorf("%v processors", cores)
	}
	if sent < 20_000 || sent > 60_000 {
		t.Errorf("sends %v bytes per second", sent)
	}
	if *last.MemoryBytes < 20_000_000 || *last.MemoryBytes > 60_000_000 || *last.MemoryLimit > 100<<20 || *last.MemoryLimit < 99<<20 {
		t.Errorf("memory %d of %d", *last.MemoryBytes, *last.MemoryLimit)
	}
	if *last.PIDs < 1 || last.OnlineCPUs < 1 || *last.TransmitBytes == 0 {
		t.Errorf("%+v", last)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rest := a.stats[len(a.stats)-1].value
	if quiet := rest.of(idle.ID); quiet == nil || quiet.CPUCores == nil || *quiet.CPUCores > 0.05 || quiet.ReceiveBytes != nil {
		t.Errorf("idle without a network: %+v", quiet)
	}
	if rest.IntervalSeconds != 1 {
		t.Errorf("interval %v", rest.IntervalSeconds)
	}
}

func TestStats_OfSixtyContainersWithinASecond(t *testing.T) {
	engine := dockertest.Shared(t)
	const n = 60
	var starting sync.WaitGroup
	for worker := range 4 {
		starting.Go(func() {
			for i := worker; i < n; i += 4 {
				engine.Run(t, dockertest.Spec{Name: fmt.Sprintf("one-of-sixty-%d", i)})
			}
		})
	}
	starting.Wait()

	for _, way := range []struct {
		name     string
		interval time.Duration
		most     time.Duration
	}{
		{"streamed", time.Second, 100 * time.Millisecond},
		// This engine makes statistics once a second, for all who wait: it takes
		// that second, and what 60 take to make, but not 60 seconds.
		{"asked", 5 * time.Second, 3 * time.Second},
	} {
		t.Run(way.name, func(t *testing.T) {
			a := follow(t, Config{Host: engine.Host(), Interval: way.interval})
			var took time.Duration
			a.until(t, "a beat of all", func() bool {
				return len(a.stats) > 0 && len(a.stats[len(a.stats)-1].value.Stats) == n
			})
			v := a.source.view.Load()
			start := time.Now()
			samples, failures := v.sample(t.Context(), 5*time.Second)
			took = time.Since(start)
			for i := range samples {
				if failures[i] != nil {
					t.Errorf("%s: %v", v.running[i].id, failures[i])
				}
				if age := time.Since(samples[i].read); age > 2500*time.Millisecond {
					t.Errorf("a sample is %v old", age)
				}
			}
			t.Logf("%d containers: a beat takes %v", n, took)
			if took > way.most {
				t.Errorf("a beat takes %v", took)
			}
		})
	}
}

func TestStats_RestartMakesNoSpike(t *testing.T) {
	engine := dockertest.Shared(t)
	c := engine.Run(t, dockertest.Spec{
		Name: "again", Network: true, CPUs: 0.2, Arguments: []string{"run", "-burn", "1", "-send", "100000"},
	})
	a := follow(t, Config{Host: engine.Host(), Interval: 500 * time.Millisecond})
	withRates := func(from, n int) {
		t.Helper()
		a.until(t, "rates", func() bool {
			have := 0
			for _, s := range a.stats[from:] {
				if its := s.value.of(c.ID); its != nil && its.CPUCores != nil {
					have++
				}
			}
			return have >= n
		})
	}
	withRates(0, 4)
	c.Kill(t, "SIGKILL")
	a.listed(t, c.ID, 0, func(c *Container) bool { return c != nil && c.State == "exited" })
	a.mu.Lock()
	stopped := len(a.stats)
	a.mu.Unlock()
	c.Start(t)
	withRates(stopped, 4)

	a.mu.Lock()
	defer a.mu.Unlock()
	fell := false
	var before uint64
	for _, s := range a.stats {
		its := s.value.of(c.ID)
		if its == nil {
			continue
		}
		if *its.TransmitBytes < before {
			fell = true
			if its.CPUCores != nil || its.TransmitBytesPerSecond != nil {
				t.Errorf("rates over the restart: %+v", its)
			}
		}
		before = *its.TransmitBytes
		if its.CPUCores != nil && *its.CPUCores > 0.5 || its.TransmitBytesPerSecond != nil && *its.TransmitBytesPerSecond > 500_000 {
			t.Errorf("a spike: %v processors, sends %v bytes per second", *its.CPUCores, *its.TransmitBytesPerSecond)
		}
	}
	if !fell {
		t.Error("no counter was reset, so nothing was tested")
	}
}

// Whoever is in the list and running is measured, who stops is no more, and when
// the last one has stopped the screen is told so.
func TestStats_EndWithTheContainer(t *testing.T) {
	engine := dockertest.Start(t)
	a := follow(t, Config{Host: engine.Host(), Interval: 200 * time.Millisecond})
	c := engine.Run(t, dockertest.Spec{Name: "only"})
	a.until(t, "its use", func() bool { return len(a.stats) > 0 && a.stats[len(a.stats)-1].value.of(c.ID) != nil })
	c.Pause(t)
	a.listed(t, c.ID, 0, func(c *Container) bool { return c != nil && c.State == "paused" })
	a.mu.Lock()
	from := len(a.stats)
	a.mu.Unlock()
	a.until(t, "its use while paused", func() bool { return len(a.stats) > from && a.stats[len(a.stats)-1].value.of(c.ID) != nil })
	c.Remove(t)
	a.until(t, "an empty beat", func() bool { return len(a.stats[len(a.stats)-1].value.Stats) == 0 })
}

// What a beat costs this process, of 60 containers: run with -bench.
func BenchmarkMeasure(b *testing.B) {
	text := fixture(b, "stats_docker_cgroup1.json")
	source, err := New(Config{Host: "unix:///nowhere"})
	if err != nil {
		b.Fatal(err)
	}
	v := &view{engine: &engine{}, tapped: true}
	for i := range 60 {
		t := new(tap)
		s, err := parseSample(text)
		if err != nil {
			b.Fatal(err)
		}
		t.newest.Store(&draught{sample: s, at: time.Now().Add(time.Hour)})
		v.running = append(v.running, subject{id: fmt.Sprint(i), tap: t})
	}
	source.view.Store(v)
	for b.Loop() {
		if err := source.Read(context.Background(), func(publisher.Reading) {}); err != nil {
			b.Fatal(err)
		}
	}
}
