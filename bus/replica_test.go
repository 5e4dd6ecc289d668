package bus_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/bus/bustest"
)

// behind is JetStream by another prefix, as if replicas took part that were cut off: so many reads of what was before a place are answered
// as nats-server does on one that has not come to that place.
type behind struct {
	prefix string
	reads  atomic.Int32
}

func replicaBehind(t *testing.T, s *bustest.Server) *behind {
	t.Helper()
	b := &behind{prefix: "BEHIND.API"}
	line, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	_, err = line.Subscribe(b.prefix+".>", func(m *nats.Msg) {
		if strings.Contains(m.Subject, ".DIRECT.GET.") && bytes.Contains(m.Data, []byte(`"up_to_seq"`)) && b.reads.Add(-1) >= 0 {
			_ = line.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"404"}, "Description": {"No Results"}}})
			return
		}
		_ = line.PublishMsg(&nats.Msg{Subject: "$JS.API" + strings.TrimPrefix(m.Subject, b.prefix), Reply: m.Reply, Data: m.Data, Header: m.Header})
	})
	if err == nil {
		err = line.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A replica that was cut off knows of no predecessor. Its word is not taken for that there is none.
func TestReads_FromAReplicaBehind_NameTheirPredecessors(t *testing.T) {
	s := bustest.New(t)
	b := replicaBehind(t, s)
	c := s.Connect(t, func(cfg *bus.Config) { cfg.API = b.prefix })
	a1 := publish(t, c, "orders.a", 1)
	b1 := publish(t, c, "orders.b", 1)
	a2 := publish(t, c, "orders.a", 2)
	c1 := publish(t, c, "orders.c", 1)
	c2 := publish(t, c, "orders.c", 2)
	want := map[uint64]uint64{a2: a1, c1: 0, c2: c1}

	b.reads.Store(7)
	r, err := c.After(t.Context(), b1, 0, "orders.*")
	if err != nil || len(r.Messages) != 3 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for _, m := range r.Messages {
		if m.Prev != want[m.Seq] {
			t.Errorf("after: %v: the one before was #%d", m, want[m.Seq])
		}
	}
	b.reads.Store(7)
	last, err := c.Last(t.Context(), "orders.*")
	if err != nil || len(last.Messages) != 3 {
		t.Fatalf("got %+v, %v", last, err)
	}
	for _, m := range last.Messages {
		if m.Seq != b1 && m.Prev != want[m.Seq] {
			t.Errorf("last: %v: the one before was #%d", m, want[m.Seq])
		}
	}
	if n := b.reads.Load(); n > 0 {
		t.Errorf("%d reads were not answered by a replica behind", n)
	}
	b.reads.Store(1000) // and nobody else
	if r, err := c.After(t.Context(), b1, 0, "orders.*"); err == nil {
		t.Errorf("a replica that stays behind is believed: %+v", r)
	}
}

// A topic of which more is retained than was read may have none before that all the same; that is found out, and no fault.
func TestReads_OfATopicsFirstMessage_FindNoneBefore(t *testing.T) {
	c := bustest.New(t).Connect(t)
	after := publish(t, c, "orders.b", 1)
	first := publish(t, c, "orders.a", 1)
	publish(t, c, "orders.a", 2)
	r, err := c.After(t.Context(), after, 1, "orders.a")
	if err != nil || len(r.Messages) != 1 || r.Messages[0].Seq != first || r.Messages[0].Prev != 0 || !r.More {
		t.Errorf("got %+v, %v", r, err)
	}
}
