package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestConnect_SaysWhyAndOnlyThat(t *testing.T) {
	nobody := bustest.New(t)
	nobody.Stop()
	said := make(chan string, 16)
	c, err := bus.Connect(t.Context(), bus.Config{Servers: []string{nobody.URL()}, Logger: slog.New(slog.NewTextHandler(lines(said), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line := <-said; !strings.Contains(line, "cannot reach NATS") || !strings.Contains(line, "refused") {
		t.Errorf("the first that is said is %s", line)
	}
}

// lines passes on what is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestConnect_BeforeNATSIsThere(t *testing.T) {
	server := bustest.New(t)
	server.Stop()
	states := make(chan bus.State, 16)
	cfg := server.Config()
	cfg.OnState = func(s bus.State) { states <- s }
	c, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("ready: %v, want unavailable", err)
	}
	if _, err := c.Last(t.Context(), ">"); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("last: %v, want unavailable", err)
	}
	if err := c.Flush(t.Context()); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("flush: %v, want unavailable", err)
	}
	l := c.Listen(16)
	if err := l.Add("alerts.>"); err != nil { // in force once the line is up
		t.Fatal(err)
	}
	server.Restart(c)
	seq := publish(t, c, "alerts.a", 1)
	if m := receive(t, c, l); m.Seq != seq {
		t.Errorf("got %v", m)
	}
	if s := <-states; !s.Connected || s.Epoch != "" || s.Since.IsZero() {
		t.Errorf("first state is %+v, want connected", s)
	}
	if s := <-states; !s.Connected || s.Epoch == "" {
		t.Errorf("second state is %+v, want the stream", s)
	}
}

func TestReconnect_GoesOnAndKeepsTheEpoch(t *testing.T) {
	server := bustest.New(t)
	states := make(chan bus.State, 16)
	c := server.Connect(t, func(cfg *bus.Config) { cfg.OnState = func(s bus.State) { states <- s } })
	l := listen(t, c, "alerts.>")
	first := publish(t, c, "alerts.a", 1)
	receive(t, c, l)
	epoch := c.State().Epoch
	for range 2 {
		server.Restart(c)
	}
	second := publish(t, c, "alerts.a", 2)
	if m := receive(t, c, l); m.Seq != second || m.Prev != first {
		t.Errorf("got %v, want #%d after #%d", m, second, first)
	}
	r, err := c.After(t.Context(), first, 0, ">")
	if err != nil || !r.Complete || !slices.Equal(seqs(r.Messages), []uint64{second}) {
		t.Errorf("got %+v, %v", r, err)
	}
	var seen []bool
	for _, s := range toldUntil(states, c.State()) {
		if s.Epoch != "" && s.Epoch != epoch {
			t.Errorf("epoch became %q", s.Epoch)
		}
		if len(seen) == 0 || seen[len(seen)-1] != s.Connected {
			seen = append(seen, s.Connected)
		}
	}
	if !slices.Equal(seen, []bool{true, false, true, false, true}) {
		t.Errorf("connected was told as %v", seen)
	}
}

// toldUntil is what OnState was told, up to last.
func toldUntil(states <-chan bus.State, last bus.State) (told []bus.State) {
	for s := range states {
		if told = append(told, s); s == last {
			break
		}
	}
	return told
}

func TestReads_EndWhenTheLineBreaks(t *testing.T) {
	server := bustest.New(t)
	c := server.Connect(t)
	for n := range 200 {
		publish(t, c, "alerts.a", n)
	}
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Last(t.Context(), ">"); err != nil {
				done <- err
				return
			}
		}
	}()
	server.Stop()
	if err := <-done; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestListener_OverflowIsToldUntilTheEnd(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	l := c.Listen(2)
	for _, p := range []bus.Pattern{"alerts.a", "alerts.b"} {
		if err := l.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Add("alerts.a"); err == nil {
		t.Error("the same pattern is taken twice")
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	dropped := func() float64 { return metric(t, registry, "tidings_bus_listener_dropped_messages_total", "") }
	overflow := func(p bus.Pattern, total float64) {
		t.Helper()
		publish(t, c, string(p), 0)
		eventually(t, "the drop is counted", func() bool { return dropped() == total })
		if told := <-l.Dropped(); told != p {
			t.Errorf("told %s, want %s", told, p)
		}
	}
	publish(t, c, "alerts.a", 1)
	publish(t, c, "alerts.a", 2)
	overflow("alerts.a", 1)
	overflow("alerts.a", 2) // NATS' client does not call back for this one: the subscription has not delivered since
	overflow("alerts.b", 3)
	receive(t, c, l)
	receive(t, c, l)
	seq := publish(t, c, "alerts.a", 6)
	if m := receive(t, c, l); m.Seq != seq {
		t.Errorf("got %v", m)
	}
	publish(t, c, "alerts.b", 4)
	publish(t, c, "alerts.b", 5)
	overflow("alerts.b", 4)
	if err := l.Remove("alerts.b"); err != nil {
		t.Error(err)
	}
	if err := l.Remove("alerts.b"); err == nil {
		t.Error("what is not there can be removed")
	}
	if got := metric(t, registry, "tidings_bus_listener_subscriptions", ""); got != 1 {
		t.Errorf("%v subscriptions are counted", got)
	}
	l.Close()
	if err := l.Add("x"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestClose_EndsAll(t *testing.T) {
	registry := prometheus.NewRegistry()
	server := bustest.New(t)
	cfg := server.Config()
	cfg.Registerer = registry
	for range 2 { // the second time the registry has to have room again
		c, err := bus.Connect(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bus.Connect(t.Context(), cfg); err == nil {
			t.Fatal("two lines share a registry")
		}
		if err := c.WaitReady(within(t)); err != nil {
			t.Fatal(err)
		}
		l := c.Listen(1)
		if err := l.Add(">"); err != nil {
			t.Fatal(err)
		}
		c.Close()
		c.Close()
		l.Close()
		if err := c.Listen(1).Add(">"); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("listen: %v", err)
		}
		if _, err := c.Last(t.Context(), ">"); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("last: %v", err)
		}
		if err := c.WaitReady(t.Context()); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("ready: %v", err)
		}
	}
}

func TestConfig_NamesEveryFault(t *testing.T) {
	if err := (bus.Config{}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := bus.Config{
		Prefix:     "a b",
		MaxPayload: -1,
		Stream: bus.StreamConfig{Name: "A.B", MaxAge: 1, MaxPerTopic: -1, MaxBytes: -1, Storage: "tape", Replicas: 6, Duplicates: 1,
			MarkerTTL: 1, Manage: 7},
	}.Validate()
	for _, key := range []string{"prefix:", "max_payload:", "stream.name:", "stream.max_age:", "stream.max_per_topic:", "stream.max_bytes:",
		"stream.storage:", "stream.replicas:", "stream.duplicates:", "stream.marker_ttl:", "stream.manage:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%q is not named in: %v", key, err)
		}
	}
	err = bus.OutboxConfig{Window: -1, MaxEvery: -1, MaxBytes: -1, AckTimeout: -1, Grace: -1}.Validate()
	for _, key := range []string{"outbox.window:", "outbox.max_every:", "outbox.max_bytes:", "outbox.ack_timeout:", "outbox.grace:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%q is not named in: %v", key, err)
		}
	}
}

// A server that cannot reach the stream, while its clients see nothing wrong with it, is left for another one.
func TestMarooned_ServerIsLeftForAnotherOne(t *testing.T) {
	t.Parallel()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true} // without JetStream
	island, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	island.Start()
	defer island.WaitForShutdown()
	defer island.Shutdown()
	if !island.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	mainland := bustest.New(t)
	mainland.Stop()
	cfg := mainland.Config()
	cfg.Servers = []string{island.ClientURL(), mainland.URL()}
	registry := prometheus.NewRegistry()
	cfg.Registerer = registry
	c, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the line to the island", func() bool { return c.State().Connected })
	mainland.Restart()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if n := metric(t, registry, "tidings_bus_servers_left_total", ""); n < 1 {
		t.Errorf("%v servers were left", n)
	}
}

func TestMetrics_EachValueExistsFromTheStart(t *testing.T) {
	registry := prometheus.NewRegistry()
	bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Registerer = registry })
	for name, labels := range map[string][]string{
		"tidings_bus_connected":                     {""},
		"tidings_bus_stream_usable":                 {""},
		"tidings_bus_servers_left_total":            {""},
		"tidings_bus_received_bytes_total":          {""},
		"tidings_bus_invalid_messages_total":        {"topic", "header", "utf8", "json", "too_large"},
		"tidings_bus_publish_failures_total":        {"unavailable", "no_stream", "timeout", "conflict", "refused"},
		"tidings_bus_outbox_dropped_messages_total": {"superseded", "buffer_full", "invalid", "refused", "shutdown"},
		"tidings_bus_read_seconds":                  {"last", "last_n", "after", "newest"},
		"tidings_bus_read_failures_total":           {"last", "last_n", "after", "newest"},
		"tidings_bus_read_messages_total":           {"last", "last_n", "after", "newest"},
		"tidings_bus_actions_asked_total":           append([]string{"ok"}, bus.ActionCodes...),
		"tidings_bus_actions_unserved_total":        {"malformed", "too_many", "stopping"},
		"tidings_bus_action_answers_lost_total":     {""},
	} {
		for _, label := range labels {
			metric(t, registry, name, label)
		}
	}
	if metric(t, registry, "tidings_bus_connected", "") != 1 {
		t.Error("connected is not 1")
	}
}
