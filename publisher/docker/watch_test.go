package docker

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/publisher/docker/dockertest"
)

func TestEvents_TellAContainersLifeInOrder(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })

	c := engine.Create(t, dockertest.Spec{Name: "life", Health: true})
	c.Start(t)
	a.happened(t, c.ID, "health_status", 1)
	c.Sicken(t)
	a.happened(t, c.ID, "health_status", 2)
	c.Pause(t)
	a.happened(t, c.ID, "pause", 1) // an engine that is hurried may tell it twice
	c.Unpause(t)
	a.happened(t, c.ID, "unpause", 1)
	c.Rename(t, "afterlife")
	c.Kill(t, "SIGKILL")
	a.happened(t, c.ID, "die", 1)
	c.Remove(t)
	a.happened(t, c.ID, "destroy", 1)

	want := strings.Join([]string{
		"life create: created none",
		"life start: running starting",
		"life health_status: running healthy",
		"life health_status: running unhealthy",
		"life pause: paused unhealthy",
		"life unpause: running unhealthy",
		"afterlife rename: running unhealthy",
		"afterlife kill: running unhealthy signal 9",
		"afterlife die: exited unhealthy code 137",
		"afterlife destroy: exited unhealthy",
	}, "\n")
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := a.story(c.ID); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !slices.IsSortedFunc(a.events, func(x, y seen[Event]) int { return int(x.value.At - y.value.At) }) {
		t.Error("not in the order of their times")
	}
	for _, e := range a.events {
		if late := e.at.Sub(time.UnixMilli(e.value.At)); late > time.Second {
			t.Errorf("%s arrived after %v", tell(e.value), late)
		}
		if e.value.Container.ID != e.value.ID || e.value.Container.Image != "tidings-probe:latest" || e.value.Container.Status == "" {
			t.Errorf("record of %s: %+v", tell(e.value), e.value.Container)
		}
	}
}

func TestEvents_OfOneThatExitsAtOnceHaveRecordsOfTheirTime(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })

	c := engine.Run(t, dockertest.Spec{Name: "brief", Arguments: []string{"run", "-after", "1ms", "-exit", "3"}, AutoRemove: true})
	a.happened(t, c.ID, "destroy", 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	want := "brief create: created none\nbrief start: running none\nbrief die: exited none code 3\nbrief destroy: exited none"
	if got := a.story(c.ID); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestList_FollowsAChangeWithin200ms(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host()})
	c := engine.Run(t, dockertest.Spec{Name: "changing"})
	place := a.listed(t, c.ID, 0, func(c *Container) bool { return c != nil && c.State == "running" })

	var delays []time.Duration
	for range 5 {
		for _, want := range []string{"paused", "running"} {
			if want == "paused" {
				c.Pause(t)
			} else {
				c.Unpause(t)
			}
			place = a.listed(t, c.ID, place, func(c *Container) bool { return c != nil && c.State == want })
			a.mu.Lock()
			delays = append(delays, a.lists[place].at.Sub(time.UnixMilli(a.events[len(a.events)-1].value.At)))
			a.mu.Unlock()
		}
	}
	slices.Sort(delays)
	t.Logf("from event to list: %v", delays)
	// The median: a machine that is busy with other tests may be late at times.
	if median := delays[len(delays)/2]; median > 200*time.Millisecond {
		t.Errorf("median is %v", median)
	}
}

func TestList_ChangesAtOnceMakeFewListsAndTheLastOneIsRight(t *testing.T) {
	engine := dockertest.Shared(t)
	var all []*dockertest.Container
	for _, name := range []string{"many1", "many2", "many3", "many4"} {
		all = append(all, engine.Run(t, dockertest.Spec{Name: name}))
	}
	a := follow(t, Config{Host: engine.Host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })

	const rounds = 10
	for range rounds {
		for _, c := range all {
			c.Pause(t)
			c.Unpause(t)
		}
	}
	for _, c := range all {
		c.Pause(t)
	}
	a.until(t, "a list with all of them paused", func() bool {
		return !slices.ContainsFunc(all, func(c *dockertest.Container) bool {
			record := a.lists[len(a.lists)-1].value.of(c.ID)
			return record == nil || record.State != "paused"
		})
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if events := len(a.events); len(a.lists) > events/2 {
		t.Errorf("%d lists for %d events", len(a.lists), events)
	}
	for i := 1; i < len(a.lists); i++ {
		if gap := a.lists[i].at.Sub(a.lists[i-1].at); gap < gather-5*time.Millisecond {
			t.Errorf("two lists within %v", gap)
		}
	}
}

func TestList_IsSentAgainAtItsInterval(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host(), ListInterval: time.Second})
	a.until(t, "lists without a change", func() bool { return a.count(a.source.metrics.lists, causeInterval) >= 2 })
}

func TestRecord_SaysWhatTheEngineKnows(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host(), Labels: []string{"team", "org.example.*"}})
	c := engine.Run(t, dockertest.Spec{
		Name: "full", Network: true, Publish: "80/tcp", Memory: 64 << 20, CPUs: 0.5,
		Labels: map[string]string{
			"team": "blue", "org.example.version": "7", "secret": "hush",
			"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
			"tidings.protected": "true",
		},
	})
	other := engine.Run(t, dockertest.Spec{Name: "bare"})
	var record Container
	place := a.listed(t, c.ID, 0, func(c *Container) bool {
		if c != nil {
			record = *c
		}
		return c != nil && c.State == "running"
	})
	now := time.Now().UnixMilli()
	if record.Name != "full" || record.Image != "tidings-probe:latest" || !strings.HasPrefix(record.ImageID, "sha256:") ||
		record.Project != "shop" || record.Service != "web" || record.CPULimit != 0.5 || record.MemoryLimit != 64<<20 ||
		record.Runtime != "docker" || !record.Protected || record.RestartCount != 0 ||
		!slices.Equal(record.Networks, []string{"lan"}) {
		t.Errorf("record: %+v", record)
	}
	if len(record.Labels) != 2 || record.Labels["team"] != "blue" || record.Labels["org.example.version"] != "7" {
		t.Errorf("labels: %v", record.Labels)
	}
	if len(record.Ports) != 1 || record.Ports[0].IP != "127.0.0.1" || record.Ports[0].PrivatePort != 80 ||
		record.Ports[0].PublicPort == 0 || record.Ports[0].Protocol != "tcp" {
		t.Errorf("ports: %+v", record.Ports)
	}
	if record.CreatedAt > record.StartedAt || record.StartedAt > now || record.StartedAt < now-60_000 || record.FinishedAt != 0 || record.ExitCode != nil {
		t.Errorf("times: %+v at %d", record.Course, now)
	}
	place = a.listed(t, other.ID, place, func(c *Container) bool { return c != nil })
	a.mu.Lock()
	if bare := a.lists[place].value.of(other.ID); bare.Protected || bare.Labels != nil || bare.Ports != nil || bare.CPULimit != 0 {
		t.Errorf("bare: %+v", bare)
	}
	a.mu.Unlock()

	c.Stop(t)
	a.listed(t, c.ID, place, func(c *Container) bool {
		return c != nil && c.State == "exited" && c.ExitCode != nil && *c.ExitCode == 0 && c.FinishedAt >= c.StartedAt && strings.HasPrefix(c.Status, "Exited (0) ")
	})
}

func TestRecord_CountsRestartsByPolicy(t *testing.T) {
	engine := dockertest.Shared(t)
	a := follow(t, Config{Host: engine.Host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })
	c := engine.Run(t, dockertest.Spec{Name: "crashing", Arguments: []string{"run", "-after", "100ms", "-exit", "1"}, Restart: "always"})
	a.listed(t, c.ID, 0, func(c *Container) bool { return c != nil && c.RestartCount >= 2 })
	var events []string
	for _, e := range a.of(c.ID) {
		events = append(events, e.Event+" "+e.Container.State)
	}
	want := []string{"create created", "start running", "die restarting", "start running", "die restarting"}
	if len(events) < len(want) || !slices.Equal(events[:len(want)], want) {
		t.Errorf("got %q", events)
	}
}

func TestBreak_EachEventArrivesOnceOverReconnects(t *testing.T) {
	engine := dockertest.Shared(t)
	cable := newCable(t, engine.Socket())
	a := follow(t, Config{Host: cable.host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })
	c := engine.Run(t, dockertest.Spec{Name: "steady"})
	a.happened(t, c.ID, "start", 1)
	want := []string{"create steady", "start steady"}
	for i := range 3 {
		cable.cut()
		for j := range 5 {
			name := "steady" + strconv.Itoa(i) + strconv.Itoa(j)
			c.Rename(t, name)
			want = append(want, "rename "+name)
		}
		cable.mend()
		a.happened(t, c.ID, "rename", 5*(i+1))
	}
	var got []string
	for _, e := range a.of(c.ID) {
		got = append(got, e.Event+" "+e.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if resumed, lost := a.count(a.source.metrics.breaks, breakResumed), a.count(a.source.metrics.breaks, breakLost); resumed != 3 || lost != 0 {
		t.Errorf("%v breaks resumed, %v with a loss", resumed, lost)
	}
}

func TestBreak_TooLongIsSaidAndTheListHolds(t *testing.T) {
	engine := dockertest.Shared(t)
	cable := newCable(t, engine.Socket())
	a := follow(t, Config{Host: cable.host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })
	c := engine.Run(t, dockertest.Spec{Name: "long"})
	a.happened(t, c.ID, "start", 1)

	cable.cut()
	for i := range 300 { // the engine keeps 256
		c.Rename(t, "long"+strconv.Itoa(i))
	}
	a.mu.Lock()
	lists := len(a.lists)
	a.mu.Unlock()
	cable.mend()
	a.listed(t, c.ID, lists, func(c *Container) bool { return c != nil && c.Name == "long299" })
	a.until(t, "the loss being noticed", func() bool { return a.count(a.source.metrics.breaks, breakLost) == 1 })
}

func TestEngine_ThatWasKilledAndComesBackIsNoticed(t *testing.T) {
	engine := dockertest.Start(t)
	a := follow(t, Config{Host: engine.Host()})
	a.until(t, "a first list", func() bool { return len(a.lists) > 0 })
	c := engine.Run(t, dockertest.Spec{Name: "survivor"})
	a.happened(t, c.ID, "start", 1)
	if r := a.source.Runtimes(); len(r) != 1 || r[0].Name != "docker" || r[0].Version == "" {
		t.Errorf("runtimes: %v", r)
	}

	engine.Kill(t)
	a.until(t, "the loss being noticed", func() bool { return a.source.Runtimes() == nil })
	a.mu.Lock()
	lists := len(a.lists)
	a.mu.Unlock()
	engine.Up(t)
	// An engine that comes back ends what still runs from before.
	a.listed(t, c.ID, lists, func(c *Container) bool { return c != nil && c.State == "exited" })
	d := engine.Run(t, dockertest.Spec{Name: "newcomer"})
	a.happened(t, d.ID, "start", 1)
	place := a.listed(t, d.ID, lists, func(c *Container) bool { return c != nil && c.State == "running" })
	c.Start(t)
	a.happened(t, c.ID, "start", 2)
	a.listed(t, c.ID, place, func(c *Container) bool { return c != nil && c.State == "running" })

	var events []string
	for _, e := range a.of(d.ID) {
		events = append(events, e.Event)
	}
	if !slices.Equal(events, []string{"create", "start"}) {
		t.Errorf("events after the break: %v", events)
	}
	if len(a.failures) > 0 {
		t.Errorf("beats failed: %v", a.failures)
	}
}

func TestEngine_NoneIsNoErrorAndOneThatComesLaterIsFound(t *testing.T) {
	engine := dockertest.Shared(t)
	c := engine.Run(t, dockertest.Spec{Name: "waiting"})
	cable := newCable(t, engine.Socket())
	cable.cut()
	a := follow(t, Config{Host: cable.host(), Interval: 100 * time.Millisecond})
	select {
	case <-a.ended:
		t.Fatal("gave up")
	case <-time.After(3 * lookAgain): // it has looked, and beaten, several times
	}
	if a.source.Runtimes() != nil || len(a.lists)+len(a.stats)+len(a.failures) > 0 {
		t.Errorf("without an engine: %v %v %v", a.lists, a.stats, a.failures)
	}
	cable.mend()
	a.listed(t, c.ID, 0, func(c *Container) bool { return c != nil && c.State == "running" })
	a.until(t, "its use", func() bool { return len(a.stats) > 0 && a.stats[len(a.stats)-1].value.of(c.ID) != nil })
}
