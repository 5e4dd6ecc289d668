package edge_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/edge"
	"tidings/edge/wire"
)

// asked counts what NATS is asked for from the stream by place, as reads of what was missed are, until done is called.
func (c *cluster) asked() (done func() int) {
	c.t.Helper()
	nc := c.line()
	sub, err := nc.SubscribeSync("$JS.API.DIRECT.GET.TIDINGS")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
	return func() int {
		c.t.Helper()
		// What was asked before this is asked has come before it.
		end := []byte(`{"the end":true}`)
		if err := nc.PublishMsg(&nats.Msg{Subject: sub.Subject, Data: end}); err != nil {
			c.t.Fatal(err)
		}
		for n := 0; ; {
			m, err := sub.NextMsg(patience)
			switch {
			case err != nil:
				c.t.Fatal(err)
			case bytes.Equal(m.Data, end):
				nc.Close()
				return n
			case !bytes.Contains(m.Data, []byte("multi_last")): // of snapshots and audits
				n++
			}
		}
	}
}

// A thousand clients of an edge that ended come to another one at once, all from the same place, which memory does not reach: NATS is
// asked for it as often as for one of them, and each of them gets all of it.
func TestThousandWhoResumeTheSame_CostOneRead(t *testing.T) {
	const many, missed, recent = 1000, 100, 16
	c := newCluster(t)
	start := func() *node {
		n := c.edge(func(cfg *edge.Config) { cfg.Limits.Recent = recent })
		n.dial().subscribe("orders.*")
		return n
	}
	n, other := start(), start()
	position, epoch := c.publish("orders.a", `{"n":0}`), c.epoch()
	c.burst("orders.a", 1, missed)
	c.hears(n, missed+1)
	c.hears(other, missed+1)

	// follow takes what a client gets: the ack, and each message from the position on.
	follow := func(p *peer) {
		t.Helper()
		m := p.expectType("ack")
		if a := payload[wire.AckPayload](t, m).Topics[0]; a.Recovered == nil || !*a.Recovered || a.Seq != position+missed {
			t.Fatalf("got %s", m.text)
		}
		for i := uint64(1); i <= missed; i++ {
			m := p.message()
			if m.Topic != "orders.a" || m.Seq != position+i || m.Prev != position+i-1 || string(m.Payload) != fmt.Sprintf(`{"n":%d}`, i) {
				t.Fatalf("got %s, want number %d", m.text, i)
			}
		}
	}
	resume := func(p *peer) { p.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", epoch, position)) }

	asked := c.asked()
	one := other.peer(0)
	resume(one)
	follow(one)
	price := asked()
	if price == 0 {
		t.Fatal("one client was served without a read")
	}

	peers := make([]*peer, many)
	for i := range peers {
		peers[i] = n.peer(0)
	}
	asked = c.asked()
	began := time.Now()
	for _, p := range peers {
		resume(p)
	}
	for _, p := range peers {
		follow(p)
	}
	took := time.Since(began)
	if reads, requests := n.value("tidings_edge_replays_total", "cause", "resume"), asked(); reads != 1 || requests != price {
		t.Errorf("%d clients cost %v reads and %d requests to NATS in %v; one costs 1 and %d", many, reads, requests, took, price)
	}
	last := c.publish("orders.a", `"live"`)
	for _, p := range append(peers, one) {
		if m := p.message(); m.Seq != last || m.Prev != last-1 {
			t.Fatalf("got %s, want what came live", m.text)
		}
	}
	t.Logf("%d clients, %d messages each: %d requests to NATS, as for one, and %v", many, missed, price, took.Round(time.Millisecond))
}
