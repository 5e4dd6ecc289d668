package publisher

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestClaim_SecondPublisherSaysSoAndStops(t *testing.T) {
	server, conn := connect(t)
	first := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1"), counts("metrics")}})
	eventually(t, "the first holds the name", func() bool { return first.Ready() == nil })

	e := listen(t, conn)
	read := make(chan struct{}, 1)
	second := run(t, Config{Bus: server.Connect(t), Host: "WEB-1", Sources: []Source{
		source{"metrics", quick, func(context.Context, Emit) error { read <- struct{}{}; return nil }},
	}})
	err := second.end(t)
	if !errors.Is(err, ErrHostTaken) {
		t.Fatalf("the second ended with %v", err)
	}
	for _, part := range []string{first.claim.instance, `"WEB-1"`, "--host"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if len(read) > 0 {
		t.Error("the second read its sources")
	}
	if second.Ready() == nil {
		t.Error("the second is ready")
	}
	// The first goes on as if nothing had been.
	for range 3 {
		e.untilTopic("host.web-1")
	}
	if first.Ready() != nil {
		t.Error(first.Ready())
	}
}

func TestClaim_OfManyAtOnceOneIsLeft(t *testing.T) {
	server, conn := connect(t)
	const n = 5
	var all [n]*running
	for i := range n {
		all[i] = run(t, Config{Bus: server.Connect(t), Host: "web-1", Sources: []Source{describes("web-1")}})
	}
	ended := 0
	eventually(t, "all but one have ended", func() bool {
		for _, r := range all {
			select {
			case err := <-r.ended:
				if !errors.Is(err, ErrHostTaken) {
					t.Fatalf("ended with %v", err)
				}
				ended++
			default:
			}
		}
		return ended == n-1
	})
	e := listen(t, conn)
	from := e.untilTopic("host.web-1").Header.Get(instanceHeader)
	for range 5 {
		if m := e.untilTopic("host.web-1"); m.Header.Get(instanceHeader) != from {
			t.Errorf("first %s, then %s", from, owner(m))
		}
	}
}

// A publisher that crashed says nothing more; its claim lapses, and the next one
// has waited for that, and published nothing meanwhile.
func TestClaim_OfACrashedPublisherIsTakenOverWhenItLapses(t *testing.T) {
	_, conn := connect(t)
	e := listen(t, conn)
	_, err := conn.Publish(t.Context(), "host.web-1", []byte(`{}`), bus.PublishOptions{
		TTL: claimLife, Header: map[string]string{instanceHeader: "crashed/1/x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1"), counts("metrics")}})
	eventually(t, "it says what it waits for", func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "crashed/1/x")
	})
	var gone, claimed time.Time
	e.until("the metrics of the next", func(m bus.Message) bool {
		switch {
		case m.Gone:
			gone = m.Time
		case m.Topic == "host.web-1" && m.Header.Get(instanceHeader) == p.claim.instance && claimed.IsZero():
			claimed = m.Time
		case m.Topic == "metrics.web-1":
			if gone.IsZero() || claimed.Before(gone) || m.Time.Before(claimed) {
				t.Errorf("gone %v, claimed %v, metrics %v", gone, claimed, m.Time)
			}
			return true
		}
		return false
	})
	if p.Ready() != nil {
		t.Error(p.Ready())
	}
}

func TestClaim_OverwrittenStopsTheOneThatHeldIt(t *testing.T) {
	_, conn := connect(t)
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "it holds the name", func() bool { return p.Ready() == nil })
	_, err := conn.Publish(t.Context(), "host.web-1", []byte(`{}`), bus.PublishOptions{
		TTL: claimLife, Header: map[string]string{instanceHeader: "other/1/x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.end(t); !errors.Is(err, ErrHostTaken) || !strings.Contains(err.Error(), "other/1/x") {
		t.Errorf("ended with %v", err)
	}
	// And it leaves the other's message alone.
	s, err := conn.Last(t.Context(), "host.web-1")
	if err != nil || len(s.Messages) != 1 || owner(s.Messages[0]) != "other/1/x" {
		t.Errorf("%v %v", s.Messages, err)
	}
}

func TestClaim_LosingNATSIsNoOtherPublisher(t *testing.T) {
	server, conn := connect(t)
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1"), counts("container-events")}})
	eventually(t, "it holds the name", func() bool { return p.Ready() == nil })
	server.Stop()
	eventually(t, "it sees that NATS is away", func() bool { return p.Ready() != nil })
	time.Sleep(claimLife + time.Second) // so that its claim has lapsed when NATS is back
	server.Restart()
	eventually(t, "it holds the name again", func() bool { return p.Ready() == nil })
	e := listen(t, conn)
	for range 3 {
		e.untilTopic("host.web-1")
	}
	select {
	case err := <-p.ended:
		t.Errorf("ended with %v", err)
	default:
	}
}

func TestClaim_StreamMadeAnewIsNoOtherPublisher(t *testing.T) {
	server := bustest.New(t)
	// In memory: on disk, nats-server 2.15.2 may acknowledge nothing any more when a
	// stream is made again right after it was deleted.
	conn := server.Connect(t, func(c *bus.Config) { c.Stream.Storage = "memory" })
	p := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	e := listen(t, conn)
	for range 5 {
		e.untilTopic("host.web-1")
	}
	operator, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "TIDINGS"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is there again", func() bool { return conn.EnsureStream(t.Context()) == nil })
	e.until("a first message of the new stream", func(m bus.Message) bool { return m.Topic == "host.web-1" && m.Prev == 0 })
	for range 3 {
		e.untilTopic("host.web-1")
	}
	select {
	case err := <-p.ended:
		t.Errorf("ended with %v", err)
	default:
	}
}

// A message whose ack was lost is our own, also when NATS says that it is not the
// one that we know of.
func TestClaim_LostAckIsNoOtherPublisher(t *testing.T) {
	_, conn := connect(t)
	p, err := New(Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	if err != nil {
		t.Fatal(err)
	}
	p.claim.offer([]byte(`{}`))
	for range 3 {
		if err := p.claim.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.claim.last = 0 // as if it had never heard of it
	}
}

// A stop may come between the first message and its ack.
func TestClaim_LostAckIsNoReasonNotToSayGone(t *testing.T) {
	_, conn := connect(t)
	p, err := New(Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	if err != nil {
		t.Fatal(err)
	}
	p.claim.offer([]byte(`{}`))
	if err := p.claim.say(t.Context(), bus.PublishOptions{TTL: p.claim.ttl}); err != nil {
		t.Fatal(err)
	}
	p.claim.last = 0 // as if it had never heard of it
	p.claim.leave(t.Context())
	if s, err := conn.Last(t.Context(), "host.web-1"); err != nil || len(s.Messages) != 0 {
		t.Errorf("after it has left, there is %v, %v", s.Messages, err)
	}
}

func TestInstance_IsOfOneLifeAlone(t *testing.T) {
	a, b := newInstance(), newInstance()
	if a == b || strings.Count(a, "/") != 2 || strings.ContainsAny(a, "\r\n ") {
		t.Errorf("%q and %q", a, b)
	}
}
