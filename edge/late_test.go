package edge_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// deaf has the stream not send on what it is given, and again.
func (c *cluster) deaf() (hear func()) {
	c.t.Helper()
	js, err := c.line().JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := js.StreamInfo("TIDINGS")
	if err != nil {
		c.t.Fatal(err)
	}
	change := func(r *nats.RePublish) {
		c.t.Helper()
		cfg := info.Config
		cfg.RePublish = r
		if _, err := js.UpdateStream(&cfg); err != nil {
			c.t.Fatal(err)
		}
	}
	change(nil)
	return func() { change(info.Config.RePublish) }
}

// A message that was lost on its way shows by the next one of its topic, when other topics have gone on. It comes late: once to each who is
// behind it, also to who resumed meanwhile, be it from what is recent or from the stream; and not to who has it from elsewhere.
func TestHole_ThatShowsLate_IsFilledForEachOnce(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	first := c.publish("orders.a", `0`)
	there := n.dial()
	there.subscribe("orders.*")
	second := c.publish("orders.b", `0`)
	there.data(at("orders.b", second))
	hear := c.deaf()
	lost := c.publish("orders.a", `1`)
	hear()
	after := c.publish("orders.b", `1`)
	there.data(at("orders.b", after))

	resumes := func(seq uint64) *client {
		client := n.dial()
		client.resume(true, since("orders.*", c.epoch(), seq))
		return client
	}
	recent, ahead := resumes(second), resumes(after)
	recent.data(at("orders.b", after))
	fresh := n.dial()
	fresh.subscribe("orders.*")
	next := c.publish("orders.a", `2`)
	for _, client := range []*client{there, recent} {
		client.data(at("orders.a", lost), at("orders.a", next))
	}
	for _, client := range []*client{ahead, fresh} {
		client.data(at("orders.a", next))
	}
	again := resumes(first)
	again.data(at("orders.b", second), at("orders.a", lost), at("orders.b", after), at("orders.a", next))
	for _, client := range []*client{there, recent, ahead, fresh, again} {
		client.quiet()
	}
	if repairs, gaps := n.value("tidings_edge_repairs_total"), n.value("tidings_edge_gaps_total"); repairs != 1 || gaps != 0 {
		t.Errorf("%v repairs, %v gaps", repairs, gaps)
	}
}

// What is read from the stream for somebody who came back betrays it too.
func TestHole_ShowsByWhatOthersResume(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	first := c.publish("orders.b", `0`)
	held := c.publish("orders.a", `0`)
	there := n.dial()
	there.subscribe("orders.*")
	hear := c.deaf()
	lost := c.publish("orders.a", `1`)
	hear()
	after := c.publish("orders.b", `1`)
	there.data(at("orders.b", after))
	back := n.dial()
	back.resume(true, since("orders.*", c.epoch(), first)) // from before what is recent
	back.data(at("orders.a", held), at("orders.b", after), at("orders.a", lost))
	there.data(at("orders.a", lost))
	next := c.publish("orders.a", `2`)
	for _, client := range []*client{there, back} {
		client.data(at("orders.a", next))
		client.quiet()
	}
	if repairs := n.value("tidings_edge_repairs_total"); repairs != 1 {
		t.Errorf("%v repairs", repairs)
	}
}

// Of the last n messages those are brought that have not come to this edge, of an `every` topic as of a latest one, and once; and others get
// what shows to be missing.
func TestLast_HasWhatWasLostOnItsWay(t *testing.T) {
	for _, kind := range []string{"orders", "containers"} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(t)
			n := c.edge()
			one, other := kind+".a", kind+".b"
			first := c.publish(one, `0`)
			there := n.dial()
			there.subscribe(kind + ".*")
			if kind == "containers" {
				there.data(at(one, first))
			}
			hear := c.deaf()
			lost := c.publish(one, `1`)
			hear()
			there.data(at(other, c.publish(other, `1`)))
			chart := n.dial()
			chart.subscribe(fmt.Sprintf(`{"topic":"%s","last":5}`, one))
			had := map[string]int{}
			next := c.publish(one, `2`)
			for had[at(one, next)] == 0 {
				m := chart.next()
				had[at(m.Topic, m.Seq)]++
			}
			if had[at(one, first)] != 1 || had[at(one, lost)] != 1 {
				t.Errorf("it had %v, of which %d was lost", had, lost)
			}
			there.data(at(one, lost), at(one, next))
			chart.quiet()
		})
	}
}
