package bus_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus/bustest"
)

// dial is a NATS client that knows nothing of us.
func dial(t testing.TB, s *bustest.Server) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(s.URL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// operator is who manages streams by other means.
func operator(t testing.TB, s *bustest.Server) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(dial(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// send publishes without any of our checks, and waits until the server has it.
func send(t testing.TB, nc *nats.Conn, messages ...*nats.Msg) {
	t.Helper()
	for _, m := range messages {
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// metric reads the value of a counter, gauge, or of a histogram's count, with the given label value ("" for none).
func metric(t testing.TB, from prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if labels := m.GetLabel(); len(labels) == 0 && label == "" || len(labels) == 1 && labels[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("there is no metric %s{%s}", name, label)
	return 0
}
