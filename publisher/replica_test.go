package publisher

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/bus/bustest"
)

// lagging is JetStream by another prefix, as if of a stream's replicas one lagged: the next so many looks at the last message of
// host.web-1 get the answer of before.
type lagging struct {
	t      *testing.T
	line   *nats.Conn
	prefix string
	before *nats.Msg
	next   atomic.Int32
}

const lastOfHost = "DIRECT.GET.TIDINGS.tidings.pub.host.web-1"

func lag(t *testing.T, s *bustest.Server) *lagging {
	t.Helper()
	line, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	l := &lagging{t: t, line: line, prefix: "LAGGING.API"}
	_, err = line.Subscribe(l.prefix+".>", func(m *nats.Msg) {
		what := strings.TrimPrefix(m.Subject, l.prefix+".")
		if what == lastOfHost && l.next.Add(-1) >= 0 {
			_ = line.PublishMsg(&nats.Msg{Subject: m.Reply, Header: l.before.Header, Data: l.before.Data})
			return
		}
		_ = line.PublishMsg(&nats.Msg{Subject: "$JS.API." + what, Reply: m.Reply, Data: m.Data, Header: m.Header})
	})
	if err == nil {
		err = line.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stay has the next n looks be answered as one would be now.
func (l *lagging) stay(n int32) {
	l.t.Helper()
	var err error
	if l.before, err = l.line.Request("$JS.API."+lastOfHost, nil, soon); err != nil {
		l.t.Fatal(err)
	}
	l.next.Store(n)
}

// What a publisher said before it crashed may be seen piece by piece, or late, while a replica lags. That is no life.
func TestClaim_OfACrashedPublisherSeenLateIsNoOtherPublisher(t *testing.T) {
	for name, seen := range map[string]int{"nothing at first": 0, "an older word at first": 1} {
		t.Run(name, func(t *testing.T) {
			server, conn := connect(t)
			replicas := lag(t, server)
			for i := range 2 {
				if i == seen {
					replicas.stay(1)
				}
				_, err := conn.Publish(t.Context(), "host.web-1", []byte(`{}`), bus.PublishOptions{
					TTL: 2 * claimLife, Header: map[string]string{instanceHeader: "crashed/1/x"},
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			line := server.Connect(t, func(cfg *bus.Config) { cfg.API = replicas.prefix })
			p := run(t, Config{Bus: line, Host: "web-1", Sources: []Source{describes("web-1")}})
			eventually(t, "it holds the name, or ends", func() bool { return p.Ready() == nil || len(p.ended) > 0 })
			if len(p.ended) > 0 {
				t.Fatalf("ended with %v", <-p.ended)
			}
			if replicas.next.Load() >= 0 {
				t.Error("no look but the first was taken")
			}
		})
	}
}

// A publisher that is alive is told from one that is not, also if a replica lags.
func TestClaim_OfALivePublisherSeenLateIsNotTaken(t *testing.T) {
	server, conn := connect(t)
	replicas := lag(t, server)
	replicas.stay(2)
	first := run(t, Config{Bus: conn, Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "the first holds the name", func() bool { return first.Ready() == nil })
	line := server.Connect(t, func(cfg *bus.Config) { cfg.API = replicas.prefix })
	second := run(t, Config{Bus: line, Host: "web-1", Sources: []Source{describes("web-1")}})
	if err := second.end(t); !errors.Is(err, ErrHostTaken) || !strings.Contains(err.Error(), first.claim.instance) {
		t.Errorf("the second ended with %v", err)
	}
	if first.Ready() != nil || len(first.ended) > 0 {
		t.Error("the first does not go on")
	}
}
