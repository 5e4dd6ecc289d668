package edge_test

import (
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"tidings/edge"
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

// A value that was lost on its way is among the last ones all the same.
func TestLast_HasWhatWasLostOnItsWay(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	first := c.publish("metrics.a", `0`)
	there := n.dial()
	there.subscribe("metrics.*")
	there.data(at("metrics.a", first))
	hear := c.deaf()
	lost := c.publish("metrics.a", `1`)
	hear()
	there.data(at("metrics.b", c.publish("metrics.b", `0`)))
	client := n.dial()
	client.subscribe(`{"topic":"metrics.a","last":5}`)
	client.data(at("metrics.a", first), at("metrics.a", lost))
	client.quiet()
}

// A read is shared with those who come a moment later, but not with those who brought a topic back that was let go of in between.
func TestReread_IsNotOfTopicsThatWereForgotten(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Linger = time.Millisecond })
	first := c.publish("orders.a", `0`)
	second := c.publish("orders.a", `1`)
	for range 2 {
		client := n.dial()
		client.resume(true, since("orders.*", c.epoch(), first))
		client.data(at("orders.a", second))
		client.quiet()
		client.conn.Close(websocket.StatusNormalClosure, "")
		eventually(t, "the pattern is let go of", func() bool { return n.value("tidings_edge_patterns") == 0 })
	}
	if reads := n.value("tidings_edge_replays_total", "cause", "resume"); reads != 2 {
		t.Errorf("the stream was read %v times", reads)
	}
}
