package edge_test

import (
	"fmt"
	"testing"
)

func TestOverlappingPatterns_DeliverOnce(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	var values []string
	for i := range 6 {
		for _, topic := range []string{"metrics.a", "metrics.b", "orders.a"} {
			seq := c.publish(topic, fmt.Sprint(i))
			if i == 5 && topic != "orders.a" {
				values = append(values, at(topic, seq))
			}
		}
	}
	live := func(t *testing.T, clients ...*client) {
		t.Helper()
		for range 3 {
			want := []string{at("metrics.a", c.publish("metrics.a", `1`)), at("orders.a", c.publish("orders.a", `2`)), at("metrics.b", c.publish("metrics.b", `3`))}
			for _, client := range clients {
				client.data(want...)
			}
		}
	}
	together, one, both := n.dial(), n.dial(), n.dial()
	t.Run("in one subscribe", func(t *testing.T) {
		together.subscribe("metrics.*", "metrics.a", ">", "*.a", "orders.a", "*.*", "metrics.>")
		together.data(values...)
		together.quiet()
		live(t, together)
	})
	t.Run("one after the other", func(t *testing.T) {
		one.subscribe("metrics.a")
		one.next()
		one.subscribe("metrics.*", "orders.a")
		one.next()
		one.subscribe("*.*")
		one.quiet()
		live(t, together, one)
	})
	t.Run("and some given up", func(t *testing.T) {
		together.unsubscribe(">", "metrics.a", "*.*")
		live(t, together, one)
	})
	t.Run("with last", func(t *testing.T) {
		both.subscribe(`{"topic":"orders.*","last":3}`, `{"topic":"orders.a","last":5}`, `{"topic":"*.a","last":2}`)
		last := uint64(0)
		for i := range 5 + 2 {
			m := both.next()
			if m.Seq <= last {
				t.Errorf("%d: got %s after %d", i, m.text, last)
			}
			last = m.Seq
		}
		both.quiet()
		both.subscribe(`{"topic":">","last":4}`) // brings what is older of metrics.a, and all of metrics.b
		for _, want := range []string{"metrics.a", "metrics.b", "metrics.a", "metrics.b", "metrics.b", "metrics.b"} {
			if m := both.next(); m.Topic != want {
				t.Errorf("got %s, want %s", m.text, want)
			}
		}
		both.quiet()
	})
	t.Run("with since", func(t *testing.T) {
		since := c.publish("orders.b", `0`)
		var want []string
		for i := range 5 {
			want = append(want, at("orders.a", c.publish("orders.a", fmt.Sprint(i))), at("orders.b", c.publish("orders.b", fmt.Sprint(i))))
		}
		for _, n := range []*node{n, c.edge()} { // from what is recent, and from the stream
			client := n.dial()
			position := func(topic string, seq uint64) string {
				return fmt.Sprintf(`{"topic":"%s","since":{"epoch":"%s","seq":%d}}`, topic, c.epoch(), seq)
			}
			client.subscribe(position("orders.*", since), position("orders.a", since+4), position("*.b", since+2))
			client.data(want...)
			client.subscribe(position("orders.>", since), position("*.a", since+1))
			client.quietBut("metrics.a")
		}
	})
}
