package edge

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/bus"
	"tidings/bus/bustest"
)

// A NATS server that an edge stays connected to may follow a leader that lost the stream's end. The audit looks whether the newest message
// that was passed on is still what stands at its place.
func TestAudit_FindsAStreamThatLostItsEndBehindTheEdgesBack(t *testing.T) {
	b := bustest.New(t).Connect(t)
	topic, err := bus.ParseTopic("orders.a")
	if err != nil {
		t.Fatal(err)
	}
	var places []uint64
	for range 3 {
		seq, err := b.Publish(t.Context(), topic, []byte(`1`), bus.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, seq)
	}
	read, err := b.After(t.Context(), 0, 10, "orders.*")
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(b, slog.New(slog.DiscardHandler), newMetrics(nil))
	ctx, stop := context.WithCancel(t.Context())
	h.begin(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.run()
	}()
	defer func() {
		stop()
		<-ended
	}()
	rewound := make(chan uint64)
	h.mail.put(func() {
		h.interests["orders.*"] = &interest{pattern: "orders.*", ready: true}
		other := read.Messages[2]
		other.Time = other.Time.Add(-time.Minute) // what this edge was told at that place
		for _, m := range []bus.Message{read.Messages[0], read.Messages[1], other} {
			h.passed(m)
			h.trail.mark()
		}
		h.audit()
	})
	go func() {
		for testutil.ToFloat64(h.metrics.rewinds) == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		h.mail.put(func() { rewound <- h.trail.tip.Seq })
	}()
	select {
	case to := <-rewound:
		if to != places[1] {
			t.Errorf("rewound to %d, want %d", to, places[1])
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was found")
	}
}
