//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"tidings/bus/bustest"
)

func isGone(m message) bool { return m.Gone }

func isThere(m message) bool { return !m.Gone }

func TestPublisher_KilledLeavesAHostThatIsGone(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	client := dial(t, startEdge(t, server).socket)
	client.subscribe("host.mortal", "metrics.mortal")
	p, _ := startPublisher(t, server, "mortal", "--docker-host", "unix:///nowhere/docker.sock")
	client.await("host.mortal", "the host", isThere)
	client.await("metrics.mortal", "its metrics", always)

	p.kill()
	killed := time.Now()
	gone := client.await("host.mortal", "the host to be gone", isGone)
	if took := gone.arrived.Sub(killed); took > 20*time.Second {
		t.Errorf("gone was told %v after the end", took)
	}
	if len(gone.Payload) > 0 || gone.Type != "host" || gone.Seq == 0 {
		t.Errorf("got %v", gone)
	}
	chained(t, client.of("host.mortal"))

	// Who comes later is not told of a host that is gone.
	late := dial(t, client.url)
	late.subscribe("host.*")
	publish(t, line(t, server), "host.other", `{}`)
	if m := late.await("host.other", "another host", always); len(late.of("host.mortal")) > 0 {
		t.Errorf("before %v came %v", m, late.of("host.mortal"))
	}

	again, admin := startPublisher(t, server, "mortal", "--docker-host", "unix:///nowhere/docker.sock")
	client.await("host.mortal", "the host to be back", isThere)
	ready(t, admin)
	if code := again.stop(); code != 0 {
		t.Errorf("stopping ended with %d", code)
	}
}

func TestPublisher_StoppedIsGoneSoonAndMayComeBackAtOnce(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	client := dial(t, startEdge(t, server).socket)
	client.subscribe("host.tidy", "metrics.tidy")
	p, _ := startPublisher(t, server, "tidy", "--docker-host", "unix:///nowhere/docker.sock")
	client.await("host.tidy", "the host", isThere)
	if code := p.stop(); code != 0 {
		t.Errorf("stopping ended with %d", code)
	}
	stopped := time.Now()
	if gone := client.await("host.tidy", "the host to be gone", isGone); gone.arrived.Sub(stopped) > time.Second {
		t.Errorf("gone was told %v after the end", gone.arrived.Sub(stopped))
	}
	startPublisher(t, server, "tidy", "--docker-host", "unix:///nowhere/docker.sock")
	m := client.await("metrics.tidy", "metrics of the next publisher", func(m message) bool { return m.arrived.After(stopped) })
	if took := m.arrived.Sub(stopped); took > 6*time.Second {
		t.Errorf("a restart cost %v of metrics", took)
	}
	chained(t, client.of("host.tidy"))
	chained(t, client.of("metrics.tidy"))
}

func TestPublisher_SecondOfAHostSaysSoAndEnds(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	client := dial(t, startEdge(t, server).socket)
	client.subscribe("*.web-1")
	_, admin := startPublisher(t, server, "web-1", "--docker-host", "unix:///nowhere/docker.sock")
	client.await("host.web-1", "the host", isThere)

	second, _ := startPublisher(t, server, "WEB-1", "--docker-host", "unix:///nowhere/docker.sock")
	if code := second.exit(); code != 75 {
		t.Errorf("the second ended with %d", code)
	}
	said := second.stderr.String()
	for _, want := range []string{"publisher: ", "another publisher", `"WEB-1"`, "--host"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %s:\n%s", want, said)
		}
	}
	ready(t, admin)
	client.await("metrics.web-1", "metrics of the first, after the end of the second", func(m message) bool {
		return m.arrived.After(time.Now().Add(-time.Second)) && strings.Contains(m.raw, `"host":"web-1"`)
	})
	for _, topic := range []string{"host.web-1", "metrics.web-1"} {
		for _, m := range client.of(topic) {
			if strings.Contains(m.raw, "WEB-1") {
				t.Errorf("the second published %v", m)
			}
		}
		chained(t, client.of(topic))
	}
}
