package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to take that long.
const patience = 10 * time.Second

func topic(t testing.TB, s string) bus.Topic {
	t.Helper()
	topic, err := bus.ParseTopic(s)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func pattern(t testing.TB, s string) bus.Pattern {
	t.Helper()
	p, err := bus.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publish publishes {"n":n} and returns its place.
func publish(t testing.TB, c *bus.Conn, to string, n int, change ...func(*bus.PublishOptions)) uint64 {
	t.Helper()
	var o bus.PublishOptions
	for _, f := range change {
		f(&o)
	}
	seq, err := c.Publish(t.Context(), topic(t, to), fmt.Appendf(nil, `{"n":%d}`, n), o)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func withTTL(d time.Duration) func(*bus.PublishOptions) {
	return func(o *bus.PublishOptions) { o.TTL = d }
}

// number reads back what publish wrote.
func number(t testing.TB, m bus.Message) int {
	t.Helper()
	var payload struct{ N int }
	if err := json.Unmarshal(m.Payload, &payload); err != nil {
		t.Fatalf("%v: payload %q: %v", m, m.Payload, err)
	}
	return payload.N
}

// receive is the next live message.
func receive(t testing.TB, c *bus.Conn, l *bus.Listener) bus.Message {
	t.Helper()
	select {
	case m := <-l.C():
		msg, err := c.Decode(m)
		if err != nil {
			t.Fatalf("decode %s: %v", m.Subject, err)
		}
		return msg
	case <-time.After(patience):
		t.Fatal("no live message came")
		panic("unreachable")
	}
}

// listen returns a listener whose patterns are in force.
func listen(t testing.TB, c *bus.Conn, patterns ...string) *bus.Listener {
	t.Helper()
	l := c.Listen(1024)
	t.Cleanup(l.Close)
	for _, p := range patterns {
		if err := l.Add(pattern(t, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// eventually polls until ok, and fails the test if it never is.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
