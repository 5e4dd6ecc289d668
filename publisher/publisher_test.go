package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
)

const (
	soon  = 10 * time.Second // for what must happen, however busy the machine is
	quick = 50 * time.Millisecond
)

// emits is a source that emits one reading per beat.
func emits(name string, interval time.Duration, payload func(n int) any) Source {
	var n atomic.Int32
	return source{name, interval, func(_ context.Context, emit Emit) error {
		emit(Reading{Type: name, Payload: payload(int(n.Add(1)))})
		return nil
	}}
}

func describes(host string) Source {
	return emits("host", quick, func(int) any { return map[string]string{"name": host} })
}

func counts(name string) Source {
	return emits(name, quick, func(n int) any { return map[string]int{"n": n} })
}

// running is a publisher that runs until the test or stop ends it.
type running struct {
	*Publisher
	cancel context.CancelFunc
	ended  chan error
}

func run(t *testing.T, c Config) *running {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	p.claim.ttl = claimLife
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{p, cancel, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// claimLife stands for 15 s in tests; NATS counts in whole seconds.
const claimLife = 2 * time.Second

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := r.end(t); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(soon):
		t.Fatal("does not end")
		return nil
	}
}

// eventually polls until what is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to pass that %s", what)
		}
	}
}

// ears hear all live messages of a host.
type ears struct {
	t        *testing.T
	conn     *bus.Conn
	listener *bus.Listener
}

func listen(t *testing.T, conn *bus.Conn) ears {
	t.Helper()
	l := conn.Listen(4096)
	t.Cleanup(l.Close)
	if err := l.Add(">"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ears{t, conn, l}
}

// until hears messages until one is what is wanted.
func (e ears) until(what string, wanted func(bus.Message) bool) bus.Message {
	e.t.Helper()
	enough := time.After(soon)
	for {
		select {
		case raw := <-e.listener.C():
			m, err := e.conn.Decode(raw)
			if err != nil {
				e.t.Fatalf("%s: %v", raw.Subject, err)
			}
			if wanted(m) {
				return m
			}
		case <-enough:
			e.t.Fatalf("never heard: %s", what)
		}
	}
}

func (e ears) untilTopic(topic bus.Topic) bus.Message {
	e.t.Helper()
	return e.until(string(topic), func(m bus.Message) bool { return m.Topic == topic && !m.Gone })
}

// connect makes a line to a NATS of the test's own, where markers and so claims
// may lapse within a second.
func connect(t *testing.T) (*bustest.Server, *bus.Conn) {
	t.Helper()
	server := bustest.New(t)
	return server, server.Connect(t)
}

func TestPublisher_ReadingsReachTheTopicsOfTheHost(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	registry := prometheus.NewRegistry()
	p := run(t, Config{Bus: conn, Host: "Web-1.example.org", Registerer: registry, Sources: []Source{
		describes("Web-1.example.org"), counts("metrics"),
		emits("container-events", quick, func(int) any { return map[string]string{"name": "<a & b>"} }),
	}})
	for topic, payload := range map[bus.Topic]string{
		"host.web-1-example-org":             `{"name":"Web-1.example.org"}`,
		"container-events.web-1-example-org": `{"name":"<a & b>"}`,
	} {
		if m := e.untilTopic(topic); string(m.Payload) != payload {
			t.Errorf("%s: %s, not %s", topic, m.Payload, payload)
		}
	}
	var n struct{ N int }
	m := e.untilTopic("metrics.web-1-example-org")
	if err := json.Unmarshal(m.Payload, &n); err != nil || n.N < 1 {
		t.Errorf("%s: %s", m.Topic, m.Payload)
	}
	eventually(t, "the publisher is ready", func() bool { return p.Ready() == nil })
	expect(t, registry, "tidings_publisher_host_claimed", "1")
	p.stop(t)
	expect(t, registry, "tidings_publisher_host_claimed", "0")
	if p.Ready() == nil {
		t.Error("ready after it was stopped")
	}
}

func TestPublisher_SourceThatPanicsHarmsNoOther(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{
		describes("web-1"), counts("metrics"),
		source{"bad", quick, func(context.Context, Emit) error { panic("as the test wants it") }},
		source{"ugly", quick, func(_ context.Context, emit Emit) error {
			emit(Reading{Type: "metrics", Payload: func() {}}) // no JSON
			emit(Reading{Type: "ack", Payload: 1})             // a reserved type
			emit(Reading{Type: "a b", Payload: 1})
			return nil
		}},
		watcher{source{"worse", time.Hour, func(context.Context, Emit) error { return errTest }},
			func(context.Context, Emit) error { panic("as the test wants it") }},
	}})
	for range 5 {
		e.untilTopic("metrics.web-1")
	}
}

// A source that hangs delays no other one's beats, nor the claim.
func TestPublisher_SourceThatHangsHarmsNoOther(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{
		source{"slow", quick, func(ctx context.Context, _ Emit) error { <-ctx.Done(); return ctx.Err() }},
		describes("web-1"), counts("metrics"),
	}})
	for range 5 {
		e.untilTopic("metrics.web-1")
	}
}

func TestPublisher_WatchersNewsArePublished(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	news := make(chan string)
	run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1"), watcher{
		source{"docker", time.Hour, func(context.Context, Emit) error { return nil }},
		func(ctx context.Context, emit Emit) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case n := <-news:
					emit(Reading{Type: "container-events", Payload: n})
				}
			}
		},
	}}})
	for _, n := range []string{"create", "start", "die"} {
		news <- n
		if m := e.untilTopic("container-events.web-1"); string(m.Payload) != `"`+n+`"` {
			t.Errorf("%s, not %q", m.Payload, n)
		}
	}
}

// Without a host reading there is nothing to claim with; this is said and done without.
func TestPublisher_WithoutHostReadingPublishesAllTheSame(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{counts("metrics")}})
	e.untilTopic("metrics.web-1")
	if err := p.Ready(); err != nil {
		t.Error(err)
	}
}

func TestStop_PublishesWhatIsDue(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	const last = 500
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1"),
		source{"container-events", time.Hour, func(ctx context.Context, emit Emit) error {
			<-ctx.Done() // and now in a hurry
			for n := range last {
				emit(Reading{Type: "container-events", Payload: n + 1})
			}
			return nil
		}},
	}})
	eventually(t, "the publisher holds the name", func() bool { return p.Ready() == nil })
	p.stop(t)
	e.until("the last event", func(m bus.Message) bool { return string(m.Payload) == fmt.Sprint(last) })
}

func TestStop_SaysThatTheHostIsGone(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "the publisher holds the name", func() bool { return p.Ready() == nil })
	p.stop(t)
	stopped := time.Now()
	gone := e.until("that the host is gone", func(m bus.Message) bool { return m.Topic == "host.web-1" && m.Gone })
	if late := gone.Time.Sub(stopped); late > 0 {
		t.Errorf("the host was gone %v after its publisher", late)
	}
	if s, err := conn.Last(t.Context(), "host.web-1"); err != nil || len(s.Messages) != 0 {
		t.Errorf("the host is still there: %v %v", s.Messages, err)
	}
	// So the next one need not wait, although a marker is in its way.
	next := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "the next publisher holds the name", func() bool { return next.Ready() == nil })
	if took := time.Since(stopped); took > claimLife/2 {
		t.Errorf("the next publisher waited for %v", took)
	}
	// And nothing of the one before comes up again, or puts an end to the new one.
	time.Sleep(claimLife + time.Second)
	if err := next.Ready(); err != nil {
		t.Error(err)
	}
}

func TestStop_EndsWithinTheGraceWhateverASourceDoes(t *testing.T) {
	_, conn := connect(t)
	let := make(chan struct{})
	reading := make(chan struct{})
	p := run(t, Config{Bus: conn, Host: "web-1", Grace: 200 * time.Millisecond, Sources: []Source{
		source{"deaf", time.Hour, func(_ context.Context, emit Emit) error {
			close(reading)
			<-let
			emit(Reading{Type: "metrics", Payload: 1}) // too late
			return nil
		}},
	}})
	<-reading
	start := time.Now()
	p.stop(t)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	close(let)
}

func TestStop_BeforeNATSWasEverThere(t *testing.T) {
	server := bustest.New(t)
	url := server.URL()
	server.Stop()
	conn, err := bus.Connect(t.Context(), bus.Config{Servers: []string{url}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "it says what it waits for", func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "waiting for NATS")
	})
	p.stop(t)
}

func TestConfig_ValidateNamesEveryFault(t *testing.T) {
	same := source{name: "same", interval: time.Second}
	err := Config{Host: "", Grace: -1, Sources: []Source{nil, same, same, source{name: "still"}}}.Validate()
	for _, part := range []string{"bus: ", "grace: ", `sources: two are named "same"`, "sources: number 0", `"still" has the interval 0s`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "sources: there are none") {
		t.Errorf("New: %v", err)
	}
	if err := (Config{Host: strings.Repeat("x", 300)}).Validate(); !strings.Contains(err.Error(), "host: ") {
		t.Errorf("a host of 300 bytes: %v", err)
	}
}
