//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/bus/bustest"
	"tidings/publisher/docker/dockertest"
)

// containerEvent is what PAYLOADS.md says of container-events.<host>.
type containerEvent struct {
	ID, Name, Event string
	At              int64 // Unix milliseconds, by the engine's clock, which is ours
	ExitCode        *int
	Signal          *int
	Container       container
}

// container is a container's record, as in containers.<host>.
type container struct {
	ID, Name, Image, State, Health string
}

func (e containerEvent) String() string {
	text := fmt.Sprintf("%s %s: %s %s", e.Name, e.Event, e.Container.State, e.Container.Health)
	if e.ExitCode != nil {
		text += fmt.Sprintf(", exit code %d", *e.ExitCode)
	}
	if e.Signal != nil {
		text += fmt.Sprintf(", signal %d", *e.Signal)
	}
	return text
}

// awaitEvent waits for the next event of a kind.
func awaitEvent(s *socket, topic, event string) (message, containerEvent) {
	s.t.Helper()
	var e containerEvent
	m := s.await(topic, "the event "+event, func(m message) bool {
		e = payload[containerEvent](s.t, m)
		return e.Event == event
	})
	return m, e
}

// awaitListed waits for the next list in which a container is as wanted; nil: it is not in there.
func awaitListed(s *socket, topic, id, what string, wanted func(*container) bool) message {
	s.t.Helper()
	return s.await(topic, "a list with the container "+what, func(m message) bool {
		list := payload[struct{ Containers []container }](s.t, m).Containers
		if i := slices.IndexFunc(list, func(c container) bool { return c.ID == id }); i >= 0 {
			return wanted(&list[i])
		}
		return wanted(nil)
	})
}

func in(state, health string) func(*container) bool {
	return func(c *container) bool { return c != nil && c.State == state && c.Health == health }
}

func TestContainer_LifeIsSeenWithinASecondEachInOrder(t *testing.T) {
	t.Parallel()
	engine := dockertest.Shared(t)
	server := bustest.New(t)
	client := dial(t, startEdge(t, server).socket)
	events, list := "container-events.life-example-org", "containers.life-example-org"
	client.subscribe(events, list)
	startPublisher(t, server, "Life.example.org", "--docker-host", engine.Host())
	client.await(list, "a first list", always)

	c := engine.Create(t, dockertest.Spec{Name: "life", Health: true})
	for _, step := range []struct {
		do                     func()
		event                  string
		listedState, listedFit string // "": it is gone
	}{
		{func() {}, "create", "created", "none"},
		{func() { c.Start(t) }, "start", "running", "starting"},
		{func() {}, "health_status", "running", "healthy"},
		{func() { c.Sicken(t) }, "health_status", "running", "unhealthy"},
		{func() { c.Kill(t, "SIGKILL") }, "die", "exited", "unhealthy"},
		{func() { c.Remove(t) }, "destroy", "", ""},
	} {
		step.do()
		m, e := awaitEvent(client, events, step.event)
		happened := time.UnixMilli(e.At)
		if late := m.arrived.Sub(happened); late > time.Second {
			t.Errorf("%v arrived after %v", e, late)
		}
		wanted := in(step.listedState, step.listedFit)
		if step.listedState == "" {
			wanted = func(c *container) bool { return c == nil }
		}
		l := awaitListed(client, list, c.ID, "after "+e.String(), wanted)
		if late := l.arrived.Sub(happened); late > time.Second {
			t.Errorf("the list arrived %v after %v", late, e)
		}
	}

	var story []string
	for _, m := range client.of(events) {
		story = append(story, payload[containerEvent](t, m).String())
		if m.Seq == 0 || m.Type != "container-events" {
			t.Errorf("%v", m)
		}
	}
	want := []string{
		"life create: created none",
		"life start: running starting",
		"life health_status: running healthy",
		"life health_status: running unhealthy",
		"life kill: running unhealthy, signal 9",
		"life die: exited unhealthy, exit code 137",
		"life destroy: exited unhealthy",
	}
	// The shared engine's other containers are other tests'.
	story = slices.DeleteFunc(story, func(s string) bool { return !strings.HasPrefix(s, "life ") })
	if !slices.Equal(story, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(story, "\n"), strings.Join(want, "\n"))
	}
	chained(t, client.of(events))
	chained(t, client.of(list))
}

func TestDocker_KilledAndRestartedWhileAllElseGoesOn(t *testing.T) {
	t.Parallel()
	engine := dockertest.Start(t)
	server := bustest.New(t)
	client := dial(t, startEdge(t, server).socket)
	client.subscribe("*.phoenix")
	p, admin := startPublisher(t, server, "phoenix", "--docker-host", engine.Host())
	runtimes := func(names string) func(message) bool {
		return func(m message) bool {
			var have []string
			for _, r := range payload[struct{ Runtimes []struct{ Name string } }](t, m).Runtimes {
				have = append(have, r.Name)
			}
			return strings.Join(have, " ") == names
		}
	}
	before := engine.Run(t, dockertest.Spec{Name: "before"})
	awaitListed(client, "containers.phoenix", before.ID, "running", in("running", "none"))
	client.await("host.phoenix", "the host to name its Docker", runtimes("docker"))

	engine.Kill(t)
	client.await("host.phoenix", "the host to miss its Docker", runtimes(""))
	for range 3 {
		client.await("metrics.phoenix", "metrics without Docker", always)
	}
	ready(t, admin)

	engine.Up(t)
	client.await("host.phoenix", "the host to name its Docker again", runtimes("docker"))
	after := engine.Run(t, dockertest.Spec{Name: "after"})
	for _, event := range []string{"create", "start"} {
		client.await("container-events.phoenix", event+" after the break", func(m message) bool {
			e := payload[containerEvent](t, m)
			return e.ID == after.ID && e.Event == event
		})
	}
	awaitListed(client, "containers.phoenix", after.ID, "running", in("running", "none"))
	client.await("container-stats.phoenix", "figures of the new container", func(m message) bool {
		return strings.Contains(m.raw, after.ID)
	})

	for _, topic := range []string{"metrics.phoenix", "containers.phoenix", "container-events.phoenix"} {
		chained(t, client.of(topic))
	}
	if code := p.stop(); code != 0 {
		t.Errorf("the publisher ended with %d", code)
	}
}
