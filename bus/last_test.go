package bus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestLast_NewestOfEachTopicWithItsPrev(t *testing.T) {
	c := bustest.New(t).Connect(t)
	a1 := publish(t, c, "metrics.a", 1)
	b1 := publish(t, c, "metrics.b", 2)
	a2 := publish(t, c, "metrics.a", 3)
	publish(t, c, "host.a", 4)
	a3 := publish(t, c, "metrics.a", 5)

	s, err := c.Last(t.Context(), pattern(t, "metrics.*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Messages) != 2 {
		t.Fatalf("got %v", s.Messages)
	}
	b, a := s.Messages[0], s.Messages[1]
	if b.Topic != "metrics.b" || b.Seq != b1 || b.Prev != 0 || number(t, b) != 2 {
		t.Errorf("got %v %s, want metrics.b #%d", b, b.Payload, b1)
	}
	if a.Topic != "metrics.a" || a.Seq != a3 || a.Prev != a2 || number(t, a) != 5 || a1 == a2 {
		t.Errorf("got %v %s, want metrics.a #%d after #%d", a, a.Payload, a3, a2)
	}
	if a.Time.IsZero() || time.Since(a.Time) > time.Minute {
		t.Errorf("time is %v", a.Time)
	}
	if s.Position.Seq != a3 || s.Position.Epoch != c.State().Epoch || s.Position.Epoch == "" {
		t.Errorf("position is %+v", s.Position)
	}
}

func TestLast_NothingThere(t *testing.T) {
	c := bustest.New(t).Connect(t)
	for range 2 {
		s, err := c.Last(t.Context(), pattern(t, "metrics.*"), pattern(t, "x"))
		if err != nil || len(s.Messages) != 0 || s.Position.Epoch == "" {
			t.Fatalf("got %+v, %v", s, err)
		}
		publish(t, c, "y", 1)
	}
}

// Whoever only looks how far each topic has come asks once for all of them.
func TestEnds_AreThoseOfLast_ForTwoRequests(t *testing.T) {
	server := bustest.New(t)
	c := server.Connect(t)
	var patterns []bus.Pattern
	for i := range 100 {
		patterns = append(patterns, pattern(t, fmt.Sprintf("alerts.%d", i)))
	}
	asked := requests(t, server)
	if s, err := c.Ends(t.Context(), patterns...); err != nil || len(s.Messages) != 0 || s.Position.Epoch != c.State().Epoch {
		t.Fatalf("of an empty stream: %+v, %v", s, err)
	}
	if n := asked(); n > 1 {
		t.Errorf("%d requests for an empty stream", n)
	}
	for n := range 2 {
		for i := range 50 {
			publish(t, c, fmt.Sprintf("alerts.%d", i), n)
		}
		publish(t, c, "others", n)
	}
	last, err := c.Last(t.Context(), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	asked = requests(t, server)
	ends, err := c.Ends(t.Context(), patterns...)
	if err != nil {
		t.Fatal(err)
	}
	if n := asked(); n > 2 {
		t.Errorf("%d requests", n)
	}
	if ends.Position != last.Position || !slices.Equal(seqs(ends.Messages), seqs(last.Messages)) || len(ends.Messages) != 50 {
		t.Errorf("got %v at %v, want %v at %v", seqs(ends.Messages), ends.Position, seqs(last.Messages), last.Position)
	}

	// Topics without messages, in a stream that has some.
	if s, err := c.Ends(t.Context(), patterns[50:]...); err != nil || len(s.Messages) != 0 || s.Position != last.Position {
		t.Errorf("of topics without messages: %+v, %v", s, err)
	}
}

// 1,024 is where NATS' batches end.
func TestLast_ThreeThousandTopics(t *testing.T) {
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Stream.Storage = "memory" })
	const topics = 3000
	var want []string
	out, stop := startOutbox(t, c, bus.OutboxConfig{Window: 512})
	for n := range 2 {
		for i := range topics {
			out.Put(topic(t, fmt.Sprintf("alerts.host-%d", i)), fmt.Appendf(nil, `{"n":%d}`, n), bus.PublishOptions{})
			if n == 0 {
				want = append(want, fmt.Sprintf("alerts.host-%d", i))
			}
		}
	}
	stop()
	start := time.Now()
	s, err := c.Last(within(t), pattern(t, "alerts.>"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d topics in %v", len(s.Messages), time.Since(start))
	var got []string
	for i, m := range s.Messages {
		got = append(got, string(m.Topic))
		if number(t, m) != 1 || m.Prev == 0 || m.Prev >= m.Seq {
			t.Fatalf("%v %s is not the newest of its topic, or its predecessor is wrong", m, m.Payload)
		}
		if i > 0 && s.Messages[i-1].Seq >= m.Seq {
			t.Fatalf("%v comes after %v", m, s.Messages[i-1])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("got %d topics, want %d", len(got), len(want))
	}
	if s.Position.Seq != 2*topics {
		t.Errorf("position is %d", s.Position.Seq)
	}
	r, err := c.After(within(t), 0, 0, "alerts.>")
	if err != nil || !r.Complete || r.More || len(r.Messages) != 2*topics {
		t.Fatalf("after: %d messages, complete %v, more %v, %v", len(r.Messages), r.Complete, r.More, err)
	}
	for i, m := range r.Messages {
		if m.Seq != uint64(i)+1 || (m.Prev == 0) != (number(t, m) == 0) {
			t.Fatalf("after: %v at %d", m, i)
		}
	}
}

// Together they are larger than what one reply of NATS is allowed to bring.
func TestReads_LargeMessages(t *testing.T) {
	c := bustest.New(t).Connect(t)
	large := []byte(`"` + strings.Repeat("x", 900_000) + `"`)
	var want []uint64
	for n := range 12 {
		seq, err := c.Publish(t.Context(), topic(t, fmt.Sprintf("alerts.%d", n)), large, bus.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, seq)
	}
	if s, err := c.Last(t.Context(), ">"); err != nil || !slices.Equal(seqs(s.Messages), want) {
		t.Errorf("last: %v, %v", s.Messages, err)
	}
	if s, err := c.LastN(t.Context(), ">", 3); err != nil || !slices.Equal(seqs(s.Messages), want) {
		t.Errorf("last n: %v, %v", s.Messages, err)
	}
	if r, err := c.After(t.Context(), 0, 0, "alerts.*"); err != nil || !slices.Equal(seqs(r.Messages), want) || !r.Complete {
		t.Errorf("after: %v, %v", r.Messages, err)
	}
}
