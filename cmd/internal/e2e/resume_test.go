//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/bus/bustest"
)

// complete fails unless messages hold the numbers from first to last, each once and in order, each naming the one
// before it.
func complete(t testing.TB, messages []message, first, last int) {
	t.Helper()
	for i, m := range messages {
		if n := number(t, m); n != first+i {
			t.Fatalf("number %d comes where %d was due", n, first+i)
		}
	}
	if len(messages) != last-first+1 {
		t.Fatalf("%d messages from %d to %d", len(messages), first, last)
	}
	chained(t, messages)
}

// plenty has the stream keep all that a client may miss of what counting publishes, however long a slow machine takes to bring it back.
var plenty = []string{"TIDINGS_STREAM_MAX_PER_TOPIC=100000"}

func atLeast(t testing.TB, n int) func(message) bool {
	return func(m message) bool { return number(t, m) >= n }
}

// reaches waits until a client has what counting published last.
func reaches(s *socket, topic string, last int) {
	s.t.Helper()
	got := s.of(topic)
	if len(got) == 0 || number(s.t, got[len(got)-1]) < last {
		s.await(topic, fmt.Sprintf("number %d, the last one", last), atLeast(s.t, last))
	}
}

// What is retained and what is live are joined without a hole, whenever a client comes.
func TestSubscribe_JoinsWhatIsRetainedAndWhatIsLive(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	e := launchEdge(t, server, []string{"TIDINGS_LINGER=1ms"})
	counting(t, server, "demo.numbers", 4*time.Millisecond)
	const last = 1000
	// Each asks for all there is, so it ends while that is far less than a client may ask for, however slow the machine is.
	for at, clients := uint64(0), 0; clients < 40 && at < last/2; clients++ {
		s := dial(t, e.socket)
		at = s.subscribe(want{Topic: "demo.numbers", Last: last})[0].Seq
		s.await("demo.numbers", "two messages after the ack", func(m message) bool { return m.Seq >= at+2 })
		got := s.of("demo.numbers")
		complete(t, got, 1, number(t, got[len(got)-1]))
		s.close()
	}
}

func TestEdge_KilledCostsAClientNothing(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	one, two := launchEdge(t, server, plenty, "--name", "one"), launchEdge(t, server, plenty, "--name", "two")
	first := dial(t, one.socket)
	epoch := first.subscribe("demo.numbers")[0].Epoch
	stop := counting(t, server, "demo.numbers", 2*time.Millisecond)
	first.await("demo.numbers", "number 100", atLeast(t, 100))

	one.kill()
	<-first.ended
	got := first.of("demo.numbers")
	missing := number(t, got[len(got)-1]) + 1
	eventually(t, "messages that nobody hears", patience, func() error {
		// A client of the other edge tells how far the counting is.
		other := dial(t, two.socket)
		defer other.close()
		other.subscribe(want{Topic: "demo.numbers", Last: 1})
		if n := number(t, other.await("demo.numbers", "the last number", always)); n < missing+50 {
			return errors.New("too few yet")
		}
		return nil
	})

	second := dial(t, two.socket)
	at := position{epoch, got[len(got)-1].Seq}
	ack := second.subscribe(want{Topic: "demo.numbers", Since: &at})[0]
	if ack.Recovered == nil || !*ack.Recovered || ack.Epoch != at.Epoch || ack.Seq < at.Seq {
		t.Errorf("asked for what came after %v, acked %+v", at, ack)
	}
	second.await("demo.numbers", "100 numbers more", atLeast(t, missing+150))
	last := stop()
	reaches(second, "demo.numbers", last)
	complete(t, append(got, second.of("demo.numbers")...), 1, last)
	if gaps := second.of("gap"); len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
}

// An edge that is told to stop is not ready at once, and takes in whom load balancers still send; a second signal ends it at once.
func TestEdge_StoppingWaitsForLoadBalancers(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	e := launchEdge(t, server, []string{"TIDINGS_DRAIN_WAIT=10m"})
	first := dial(t, e.socket)
	first.subscribe("demo.numbers")
	e.signal(syscall.SIGTERM)
	eventually(t, "/readyz to say no", patience, func() error {
		if status, body := get(t, e.admin+"/readyz"); status != 503 {
			return errors.New(body)
		}
		return nil
	})
	late := dial(t, e.socket)
	late.subscribe("demo.numbers")
	publish(t, line(t, server), "demo.numbers", `{"n":1}`)
	for _, s := range []*socket{first, late} {
		s.await("demo.numbers", "number 1", atLeast(t, 1))
	}
	if away := first.of("going_away"); len(away) > 0 {
		t.Errorf("asked to leave before load balancers could notice: %v", away)
	}
	e.signal(syscall.SIGTERM)
	if code := e.exit(); code != 143 {
		t.Errorf("ended with %d", code)
	}
}

// A draining edge tells its clients to go, delivers until they have, and is gone when they are.
func TestEdge_DrainedHandsItsClientsOver(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	one, two := launchEdge(t, server, plenty), launchEdge(t, server, plenty)
	first, stubborn := dial(t, one.socket), dial(t, one.socket)
	epoch := first.subscribe("demo.numbers")[0].Epoch
	stubborn.subscribe("demo.numbers")
	stop := counting(t, server, "demo.numbers", 5*time.Millisecond)
	first.await("demo.numbers", "number 20", atLeast(t, 20))

	one.signal(syscall.SIGTERM)
	away := payload[struct {
		Reason      string
		ReconnectMS [2]int64 `json:"reconnect_ms"`
		DeadlineMS  int64    `json:"deadline_ms"`
	}](t, first.await("going_away", "the word to leave", always))
	if away.Reason != "draining" || away.ReconnectMS[1] <= 0 || away.DeadlineMS < away.ReconnectMS[1] {
		t.Errorf("told %+v", away)
	}
	eventually(t, "/readyz of the draining edge to say so", patience, func() error {
		if status, body := get(t, one.admin+"/readyz"); status != 503 {
			return errors.New(body)
		}
		return nil
	})
	had := len(first.of("demo.numbers"))
	first.await("demo.numbers", "messages while it drains", atLeast(t, had+20))

	// The new connection resumes, only then the old one is closed; what came twice is told by seq.
	so := first.of("demo.numbers")
	second := dial(t, two.socket)
	at := position{epoch, so[len(so)-1].Seq}
	second.subscribe(want{Topic: "demo.numbers", Since: &at})
	first.close()
	second.await("demo.numbers", "20 messages more", atLeast(t, len(so)+20))
	last := stop()
	reaches(second, "demo.numbers", last)
	complete(t, append(so, second.of("demo.numbers")...), 1, last)

	// Who stays gets all of it until the end, and is told at the end to come back.
	<-stubborn.ended
	if code := websocket.CloseStatus(stubborn.err); code != 1012 {
		t.Errorf("who stayed was closed with %d: %v", code, stubborn.err)
	}
	stayed := stubborn.of("demo.numbers")
	complete(t, stayed, 1, number(t, stayed[len(stayed)-1]))
	if code := one.exit(); code != 0 {
		t.Errorf("the drained edge ended with %d", code)
	}
}

func TestNATS_AwayAndBackCostsAClientNothing(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	e := startEdge(t, server)
	client := dial(t, e.socket)
	client.subscribe("demo.numbers", "host.*", "metrics.*")
	_, admin := startPublisher(t, server, "patient", "--docker-host", "unix:///nowhere/docker.sock")
	client.await("metrics.patient", "metrics", always)
	conn := line(t, server)
	for range 5 {
		publish(t, conn, "demo.numbers", `{"n":1}`)
	}
	client.await("demo.numbers", "a message", always)

	server.Stop()
	degraded := func(m message) bool { return strings.Contains(string(m.Payload), `"degraded"`) }
	client.await("status", "word that values are getting old", degraded)
	if status, body := get(t, e.admin+"/readyz"); status != 503 || !strings.Contains(body, "nats") {
		t.Errorf("/readyz without NATS: %d %s", status, body)
	}
	if status, _ := get(t, e.admin+"/livez"); status != 200 {
		t.Errorf("/livez without NATS: %d", status)
	}
	server.Restart()
	client.await("status", "word that values are new again", func(m message) bool { return !degraded(m) })
	back := time.Now()
	client.await("metrics.patient", "metrics again", func(m message) bool { return m.arrived.After(back) })
	ready(t, e.admin)
	ready(t, admin)
	publish(t, line(t, server), "demo.numbers", `{"n":2}`)
	client.await("demo.numbers", "a message after the break", atLeast(t, 2))
	for _, topic := range []string{"demo.numbers", "host.patient"} {
		chained(t, client.of(topic))
	}
	select {
	case <-client.ended:
		t.Errorf("the connection ended: %v", client.err)
	default:
	}
}
