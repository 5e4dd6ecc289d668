package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
)

// startOutbox runs an outbox until stop, which returns once all is published.
func startOutbox(t testing.TB, c *bus.Conn, cfg bus.OutboxConfig) (out *bus.Outbox, stop func()) {
	t.Helper()
	out = c.NewOutbox(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- out.Run(ctx) }()
	return out, sync.OnceFunc(func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func payload(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

// retainedNumbers is what the stream holds of a topic, by what publish or payload wrote.
func retainedNumbers(t testing.TB, c *bus.Conn, of bus.Pattern) []int {
	t.Helper()
	r, err := c.After(within(t), 0, 0, of)
	if err != nil {
		t.Fatal(err)
	}
	numbers := []int{}
	for _, m := range r.Messages {
		numbers = append(numbers, number(t, m))
	}
	return numbers
}

func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestOutbox_PublishesInOrder(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	out, stop := startOutbox(t, c, bus.OutboxConfig{Window: 4})
	for n := range 100 {
		for _, to := range []bus.Topic{"alerts.a", "alerts.b", "alerts.c"} {
			out.Put(to, payload(n), bus.PublishOptions{})
		}
	}
	stop()
	for _, of := range []bus.Pattern{"alerts.a", "alerts.b", "alerts.c"} {
		if got := retainedNumbers(t, c, of); !slices.Equal(got, upTo(100)) {
			t.Errorf("%s: got %v", of, got)
		}
	}
	for name, want := range map[string]float64{"published_messages_total": 300, "ack_seconds": 300, "outbox_messages": 0, "outbox_bytes": 0, "outbox_retries_total": 0} {
		if got := metric(t, registry, "tidings_bus_"+name, ""); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestOutbox_OutageKeepsEveryAndTheNewestOfLatest(t *testing.T) {
	server, registry := bustest.New(t), prometheus.NewRegistry()
	c := server.Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	out, stop := startOutbox(t, c, bus.OutboxConfig{Grace: patience, AckTimeout: time.Hour})
	put := func(n int) {
		out.Put("alerts.a", payload(n), bus.PublishOptions{})
		out.Put("alerts.b", payload(n), bus.PublishOptions{})
		out.Put("metrics.a", payload(n), bus.PublishOptions{})
	}
	put(0)
	eventually(t, "all is acknowledged", func() bool { return metric(t, registry, "tidings_bus_outbox_messages", "") == 0 })
	// In the middle of the traffic, so that some are sent and not acknowledged.
	for n := range 20 {
		put(n + 1)
	}
	server.Stop()
	eventually(t, "the outage is noticed", func() bool { return !c.State().Connected })
	for n := range 20 {
		put(n + 21)
	}
	server.Restart()
	eventually(t, "all is acknowledged", func() bool { return metric(t, registry, "tidings_bus_outbox_messages", "") == 0 })
	put(41)
	stop()
	for _, of := range []bus.Pattern{"alerts.a", "alerts.b"} {
		if got := retainedNumbers(t, c, of); !slices.Equal(got, upTo(42)) {
			t.Errorf("%s: got %v, want each once and in order", of, got)
		}
	}
	metrics := retainedNumbers(t, c, "metrics.a")
	if !slices.IsSorted(metrics) || !slices.Equal(metrics[len(metrics)-2:], []int{40, 41}) || slices.Contains(metrics, 39) {
		t.Errorf("metrics.a: got %v, want of what was put during the outage only the newest", metrics)
	}
	// One more, if the stream had taken a message whose acknowledgement was lost.
	if got := int(metric(t, registry, "tidings_bus_outbox_dropped_messages_total", "superseded")); got != 42-len(metrics) && got != 43-len(metrics) {
		t.Errorf("%v are counted as superseded, want %d", got, 42-len(metrics))
	}
	if got := metric(t, registry, "tidings_bus_reconnects_total", ""); got != 1 {
		t.Errorf("%v reconnects are counted", got)
	}
}

func TestOutbox_StartsWithoutNATS(t *testing.T) {
	server := bustest.New(t)
	server.Stop()
	c, err := bus.Connect(t.Context(), server.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, stop := startOutbox(t, c, bus.OutboxConfig{Grace: patience})
	for n := range 10 {
		out.Put("alerts.a", payload(n), bus.PublishOptions{})
	}
	server.Restart()
	stop()
	if got := retainedNumbers(t, c, "alerts.a"); !slices.Equal(got, upTo(10)) {
		t.Errorf("got %v", got)
	}
}

func TestOutbox_FullDropsTheOldest(t *testing.T) {
	server, registry := bustest.New(t), prometheus.NewRegistry()
	c := server.Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	server.Stop()
	eventually(t, "the outage is noticed", func() bool { return !c.State().Connected })
	out := c.NewOutbox(bus.OutboxConfig{MaxEvery: 5, MaxBytes: 207, Grace: patience})
	out.Put("metrics.b", payload(0), bus.PublishOptions{}) // is older, and does not count
	for n := range 8 {
		out.Put("alerts.a", payload(n), bus.PublishOptions{})
	}
	if got := metric(t, registry, "tidings_bus_outbox_messages", ""); got != 1+5 {
		t.Errorf("%v are kept", got)
	}
	large := []byte(`"` + strings.Repeat("x", 173) + `"`)
	out.Put("metrics.a", large, bus.PublishOptions{})
	if got := metric(t, registry, "tidings_bus_outbox_dropped_messages_total", "buffer_full"); got != 3+2 {
		t.Errorf("%v are counted as dropped, want 3 for their number and 2 for their bytes (of which the oldest is metrics.b)", got)
	}
	server.Restart()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := out.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := retainedNumbers(t, c, "alerts.a"); !slices.Equal(got, []int{4, 5, 6, 7}) {
		t.Errorf("got %v, want the newest", got)
	}
	out.Put("alerts.a", payload(9), bus.PublishOptions{})
	if got := metric(t, registry, "tidings_bus_outbox_dropped_messages_total", "shutdown"); got != 1 {
		t.Errorf("after Run: %v are counted as dropped", got)
	}
}

func TestOutbox_GraceEnds(t *testing.T) {
	server, registry := bustest.New(t), prometheus.NewRegistry()
	c := server.Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	server.Stop()
	out := c.NewOutbox(bus.OutboxConfig{Grace: 10 * time.Millisecond})
	out.Put("alerts.a", payload(1), bus.PublishOptions{})
	out.Put("alerts.a", payload(2), bus.PublishOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := out.Run(ctx); err == nil || !strings.Contains(err.Error(), "2 messages") {
		t.Errorf("got %v, want to hear of 2 messages", err)
	}
	if got := metric(t, registry, "tidings_bus_outbox_dropped_messages_total", "shutdown"); got != 2 {
		t.Errorf("%v are counted as dropped", got)
	}
	if got := metric(t, registry, "tidings_bus_outbox_messages", ""); got != 0 {
		t.Errorf("%v are counted as still there", got)
	}
}

func TestOutbox_WhatNobodyTakesHoldsUpNothing(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Registerer, cfg.MaxPayload = registry, 8<<20 })
	out, stop := startOutbox(t, c, bus.OutboxConfig{})
	conflicting := uint64(99)
	out.Put("alerts.a", payload(0), bus.PublishOptions{})
	out.Put("alerts.a", []byte(`{`), bus.PublishOptions{})
	out.Put("alerts.a", []byte(`"`+strings.Repeat("x", 3<<20)+`"`), bus.PublishOptions{}) // more than NATS takes
	out.Put("alerts.a", payload(8), bus.PublishOptions{ExpectLast: &conflicting})
	out.Put("alerts.a", payload(9), bus.PublishOptions{Header: map[string]string{"Nats-Rollup": "all"}})
	out.Put("alerts.a", payload(1), bus.PublishOptions{})
	stop()
	if got := retainedNumbers(t, c, "alerts.a"); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("got %v", got)
	}
	for reason, want := range map[string]float64{"invalid": 2, "refused": 2} {
		if got := metric(t, registry, "tidings_bus_outbox_dropped_messages_total", reason); got != want {
			t.Errorf("%v are counted as %s, want %v", got, reason, want)
		}
	}
}

func TestOutbox_OutlivesTheStream(t *testing.T) {
	server := bustest.New(t)
	c := server.Connect(t)
	js := operator(t, server)
	out, stop := startOutbox(t, c, bus.OutboxConfig{Grace: patience})
	first := c.State().Epoch
	if err := js.DeleteStream(t.Context(), "TIDINGS"); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		out.Put("alerts.a", payload(n), bus.PublishOptions{})
	}
	stop()
	if got := retainedNumbers(t, c, "alerts.a"); !slices.Equal(got, upTo(10)) {
		t.Errorf("got %v", got)
	}
	if epoch := c.State().Epoch; epoch == "" || epoch == first {
		t.Errorf("epoch is %q, was %q", epoch, first)
	}
}

func TestPublish_AcknowledgesOrSaysWhy(t *testing.T) {
	server := bustest.New(t)
	c := server.Connect(t)
	first := publish(t, c, "host.a", 1, func(o *bus.PublishOptions) { o.Header = map[string]string{"Publisher": "one"} })
	expect := func(last uint64) func(*bus.PublishOptions) {
		return func(o *bus.PublishOptions) { o.ExpectLast = &last }
	}
	second := publish(t, c, "host.a", 2, expect(first))
	if second != first+1 {
		t.Errorf("places %d and %d", first, second)
	}
	if _, err := c.Publish(t.Context(), "host.a", payload(3), bus.PublishOptions{ExpectLast: &first}); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	none := uint64(0)
	if _, err := c.Publish(t.Context(), "host.a", payload(3), bus.PublishOptions{ExpectLast: &none}); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	publish(t, c, "host.b", 1, expect(0))

	withID := func(o *bus.PublishOptions) { o.MsgID = "one" }
	if a, b := publish(t, c, "alerts.a", 1, withID), publish(t, c, "alerts.a", 1, withID); a != b {
		t.Errorf("the same message has places %d and %d", a, b)
	}
	for what, err := range map[string]error{
		"no JSON":      errorOf(c.Publish(t.Context(), "alerts.a", []byte(`{`), bus.PublishOptions{})),
		"no topic":     errorOf(c.Publish(t.Context(), "alerts.*", payload(1), bus.PublishOptions{})),
		"NATS' header": errorOf(c.Publish(t.Context(), "alerts.a", payload(1), bus.PublishOptions{Header: map[string]string{"nats-ttl": "1s"}})),
		"too large":    errorOf(c.Publish(t.Context(), "alerts.a", []byte(`"`+strings.Repeat("x", 1<<20)+`"`), bus.PublishOptions{})),
	} {
		if !errors.Is(err, bus.ErrRefused) {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	s, err := c.LastN(t.Context(), "host.a", 2)
	if err != nil || len(s.Messages) != 2 || s.Messages[0].Header.Get("Publisher") != "one" || s.Messages[0].Header.Get("Nats-TTL") != "15" {
		t.Errorf("got %+v, %v, want the publisher's header and the TTL of its topic", s.Messages, err)
	}
	server.Stop()
	eventually(t, "the outage is noticed", func() bool { return !c.State().Connected })
	if _, err := c.Publish(t.Context(), "alerts.a", payload(1), bus.PublishOptions{}); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func errorOf[A any](_ A, err error) error { return err }
