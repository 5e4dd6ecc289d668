package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/edge"
	"tidings/edge/wire"
)

// labels lists the values of a metric's label that exist.
func (n *node) labels(name, label string) []string {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	var values []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == label {
					values = append(values, l.GetValue())
				}
			}
		}
	}
	return values
}

func TestMetrics_SayWhatTheyAre(t *testing.T) {
	n := newCluster(t).edge()
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 20 {
		t.Errorf("%d metrics", len(families))
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tidings_edge_") || len(f.GetHelp()) < 15 {
			t.Errorf("%s: %q", f.GetName(), f.GetHelp())
		}
		if strings.HasSuffix(f.GetName(), "_ms") || strings.HasSuffix(f.GetName(), "_kb") {
			t.Errorf("%s is not in a base unit", f.GetName())
		}
	}
	problems, err := testutil.GatherAndLint(n.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics_OfClosedLists_ExistFromTheStart(t *testing.T) {
	n := newCluster(t).edge()
	for _, list := range []struct {
		name, label string
		values      []string
	}{
		{"tidings_edge_closes_total", "code", texts(wire.CloseCodes, func(c wire.CloseCode) string { return fmt.Sprint(uint16(c)) })},
		{"tidings_edge_errors_total", "code", texts(wire.Codes, func(c wire.Code) string { return string(c) })},
		{"tidings_edge_gaps_total", "reason", texts(wire.GapReasons, func(r wire.GapReason) string { return string(r) })},
		{"tidings_edge_actions_total", "outcome", append(texts(wire.Codes, func(c wire.Code) string { return string(c) }), "ok", "unchanged")},
		{"tidings_edge_tokens_total", "result", []string{"ok", "missing", "invalid", "expired", "unavailable"}},
		{"tidings_edge_limited_total", "limit", []string{"connections", "connections_per_address", "connections_per_user", "handshakes_per_second",
			"handshakes_per_address", "handshake_timeout", "header_bytes", "headers", "event_streams", "messages_per_second", "message_bytes",
			"subscribes_per_second", "subscriptions", "pattern_literals", "replay", "pings_per_second", "refreshes_per_second", "actions_per_user", "actions_per_second", "bad_requests"}},
		{"tidings_edge_handshakes_total", "result", []string{"ok", "bad", "origin", "unauthorized", "no_keys", "limited", "full", "draining", "timeout", "aborted", "http"}},
	} {
		got := n.labels(list.name, list.label)
		for _, want := range list.values {
			if !slices.Contains(got, want) {
				t.Errorf("%s: there is no %s", list.name, want)
			}
		}
		if n.value(list.name) != 0 {
			t.Errorf("%s begins at %v", list.name, n.value(list.name))
		}
	}
}

func texts[T any](list []T, text func(T) string) []string {
	var all []string
	for _, v := range list {
		all = append(all, text(v))
	}
	return all
}

// A label takes no value that a client chooses.
func TestMetrics_LabelsAreNoClients(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	before, err := testutil.GatherAndCount(n.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for code := 3000; code < 3010; code++ {
		p := n.peer(0)
		p.say(`{"type":"subscribe","id":1,"topics":["mine.%d"]}`, code)
		p.expectType("ack")
		c.publish(fmt.Sprintf("mine.%d", code), `1`)
		p.expectType("mine")
		p.say(`{"type":"mine%d","id":2}`, code)
		p.expectType("error")
		p.send(masked(true, 8, []byte{byte(code >> 8), byte(code)}))
		p.frame()
	}
	eventually(t, "all have left", func() bool { return n.value("tidings_edge_connections") == 0 })
	if after, err := testutil.GatherAndCount(n.metrics); err != nil || after != before {
		t.Errorf("%d metrics have become %d, %v", before, after, err)
	}
	if got := n.value("tidings_edge_closes_total", "code", "other"); got != 10 {
		t.Errorf("%v closes are other ones", got)
	}
}

func TestMetrics_Count(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 2 })
	one, other := n.dial(), n.dial()
	one.subscribe("orders.*", "metrics.*")
	other.subscribe("orders.a")
	expect := func(name string, want float64, labels ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s%v is %v", name, labels, want), func() bool { return n.value(name, labels...) == want })
	}
	expect("tidings_edge_connections", 2)
	expect("tidings_edge_subscriptions", 3)
	expect("tidings_edge_handshakes_total", 2, "result", "ok")
	expect("tidings_edge_requests_total", 2)
	const before = 4 // each was greeted, and answered; counted when the loop's turn is over
	expect("tidings_edge_deliveries_total", before)
	sent := n.value("tidings_edge_sent_bytes_total")
	const many = 10
	for range many {
		want := at("orders.a", c.publish("orders.a", `12345678`))
		one.data(want)
		other.data(want)
	}
	expect("tidings_edge_nats_messages_total", many)
	expect("tidings_edge_nats_bytes_total", 8*many)
	expect("tidings_edge_deliveries_total", before+2*many)
	if got := n.value("tidings_edge_sent_bytes_total") - sent; got < 2*many*80 || got > 2*many*200 {
		t.Errorf("%v bytes for %d deliveries", got, 2*many)
	}
	expect("tidings_edge_delivery_lag_seconds", 2*many) // one for each loop: connections are dealt to them in turn
	one.conn.CloseNow()
	expect("tidings_edge_connections", 1)
	expect("tidings_edge_subscriptions", 1)
	expect("tidings_edge_closes_total", 1, "code", "none")
}

// The lag is that of live messages; a value that lay in memory for long before somebody subscribed is none.
func TestDeliveryLag_IsOfLiveMessages(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	n.dial().subscribe("metrics.*")
	c.publish("metrics.a", `1`)
	eventually(t, "it was delivered", func() bool { return n.value("tidings_edge_delivery_lag_seconds") == 1 })
	time.Sleep(300 * time.Millisecond)
	for range 5 {
		client := n.dial()
		client.subscribe("metrics.*")
		client.data("metrics.a@1")
	}
	late := n.dial()
	late.subscribe(`{"topic":"metrics.a","last":1}`)
	late.data("metrics.a@1")
	if got := n.value("tidings_edge_delivery_lag_seconds"); got != 1 {
		t.Errorf("%v observations of one live message", got)
	}
}
