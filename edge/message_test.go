package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/edge"
)

func TestMessages_ReadAsTheProtocolSays(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	client.subscribe("metrics.web-1", "orders.>")
	c.publish("metrics.web-1", `{"load": [0.5, 1.50]}`)
	c.publish("orders.eu.paris", `"café ☕ \u00e9"`)
	c.publish("metrics.web-1", `null`)
	c.publish("metrics.other", `1`)
	c.publish("orders.eu.paris", "[\n1]")
	client.expect(
		`{"type":"metrics","topic":"metrics.web-1","seq":1,"prev":0,"timestamp":T,"payload":{"load": [0.5, 1.50]}}`,
		`{"type":"orders","topic":"orders.eu.paris","seq":2,"prev":0,"timestamp":T,"payload":"café ☕ \u00e9"}`,
		`{"type":"metrics","topic":"metrics.web-1","seq":3,"prev":1,"timestamp":T,"payload":null}`,
		`{"type":"orders","topic":"orders.eu.paris","seq":5,"prev":2,"timestamp":T,"payload":`+"[\n1]}",
	)
}

func TestTimestamp_IsWhenTheStreamTookTheMessage(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	live := n.dial()
	live.subscribe("metrics.a")
	seq := c.publish("metrics.a", `1`)
	js, err := c.line().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := js.GetMsg("TIDINGS", seq)
	if err != nil {
		t.Fatal(err)
	}
	late := n.dial()
	late.subscribe("metrics.a")
	for _, client := range []*client{live, late} {
		if m := client.next(); m.Timestamp != stored.Time.UnixMilli() {
			t.Errorf("timestamp %d, but the stream took it at %d", m.Timestamp, stored.Time.UnixMilli())
		}
	}
}

func TestFrames_AreTheSameForEverySubscriber(t *testing.T) {
	c := newCluster(t)
	one, other := c.edge(), c.edge(func(cfg *edge.Config) { cfg.Node = "edge-1" })
	clients := []*client{one.dial(), one.dial(), other.dial()}
	for i, topics := range [][]string{{"orders.a"}, {"orders.>", "orders.a"}, {"orders.*"}} {
		clients[i].subscribe(topics...)
	}
	c.publish("orders.a", `{"a": 1}`)
	want := clients[0].next().text
	for _, client := range clients[1:] {
		if got := client.next().text; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestLapsedTopic_IsGone(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("host.*")
	c.publishWith("host.web-1", `{"os":"linux"}`, bus.PublishOptions{TTL: time.Second})
	client.expect(
		`{"type":"host","topic":"host.web-1","seq":1,"prev":0,"timestamp":T,"payload":{"os":"linux"}}`,
		`{"type":"host","topic":"host.web-1","seq":2,"prev":1,"timestamp":T,"gone":true}`,
	)
	// What is gone is no retained message, on this edge and on one that never saw it live.
	for _, n := range []*node{n, c.edge()} {
		late := n.dial()
		late.subscribe("host.*")
		late.quiet()
	}
	c.publish("host.web-1", `{"os":"plan9"}`)
	client.expect(`{"type":"host","topic":"host.web-1","seq":3,"prev":2,"timestamp":T,"payload":{"os":"plan9"}}`)
}

func TestMessageThatBypassedTheStream_HasNoPlace(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	client := n.dial()
	client.subscribe("metrics.*", "orders.*")
	kept := c.publish("metrics.a", `"kept"`)
	client.data(at("metrics.a", kept))
	c.raw("tidings.live.metrics.a", `"passing"`, nil)
	c.raw("tidings.live.orders.a", `"passing"`, nil)
	client.expect(
		`{"type":"metrics","topic":"metrics.a","timestamp":T,"payload":"passing"}`,
		`{"type":"orders","topic":"orders.a","timestamp":T,"payload":"passing"}`,
	)
	// It was not retained: whoever comes later is given what was.
	late := n.dial()
	late.subscribe("metrics.*")
	late.data(at("metrics.a", kept))
	late.quiet()
	// And the chain goes on over it.
	c.publish("metrics.a", `2`)
	if m := client.next(); m.Prev != kept {
		t.Errorf("got %s, want prev %d", m.text, kept)
	}
}

func TestBypassingMessage_ArrivesOnce(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client, other := n.dial(), n.dial()
	client.subscribe("orders.eu.*", "orders.*.paris", "orders.eu.paris")
	other.subscribe("*.eu.paris") // NATS brings the edge a copy for each pattern that no other covers
	c.raw("tidings.live.orders.eu.paris", `1`, nil)
	c.raw("tidings.live.orders.eu.paris", `2`, nil)
	for i := 1; i <= 2; i++ {
		client.expect(fmt.Sprintf(`{"type":"orders","topic":"orders.eu.paris","timestamp":T,"payload":%d}`, i))
		other.expect(fmt.Sprintf(`{"type":"orders","topic":"orders.eu.paris","timestamp":T,"payload":%d}`, i))
	}
	last := c.publish("orders.eu.paris", `3`)
	client.data(at("orders.eu.paris", last))
	other.data(at("orders.eu.paris", last))
}

func TestInvalidMessages_AreCountedAndHurtNoOther(t *testing.T) {
	c := newCluster(t)
	line := c.nats.Connect(t, func(cfg *bus.Config) { cfg.MaxPayload = 1000 })
	n := startEdge(t, c, line)
	client := n.dial()
	client.subscribe("metrics.*", "orders.*")
	first := c.publish("orders.a", `1`)
	client.data(at("orders.a", first))
	invalid := []string{`{"open":`, ``, `{} {}`, "\"\xff\xfe\"", `"` + strings.Repeat("x", 1001) + `"`, `nul`}
	for _, p := range invalid {
		c.raw("tidings.pub.orders.a", p, nil)
		c.raw("tidings.pub.metrics.a", p, nil)
		c.raw("tidings.live.orders.a", p, nil)
	}
	metric := c.publish("metrics.a", `2`)
	if m := client.next(); m.Seq != metric || m.Prev != 0 {
		t.Errorf("got %s\nwanted prev 0: none was ever delivered", m.text)
	}
	next := c.publish("orders.a", `3`)
	m := client.next()
	if m.Seq != next {
		t.Fatalf("got %s", m.text)
	}
	if m.Prev != first {
		t.Errorf("got %s\nwanted prev %d: nothing that was ever delivered is missing", m.text, first)
	}
	client.quiet()
	if got := n.value("tidings_edge_repairs_total"); got != 0 {
		t.Errorf("the stream was read %v times for what can't be had", got)
	}
	if got := n.value("tidings_edge_invalid_messages_total"); got != float64(3*len(invalid)) {
		t.Errorf("%v were counted", got)
	}
	late := n.dial()
	late.subscribe("metrics.*")
	late.data(at("metrics.a", metric))
}

func TestMessageWithAForgedPlace_HurtsNoOther(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*")
	for _, h := range []nats.Header{
		{"Nats-Sequence": {"x"}}, {"Nats-Sequence": {"-1"}}, {"Nats-Sequence": {"18446744073709551616"}},
		{"Nats-Sequence": {"5"}, "Nats-Last-Sequence": {"9"}},
	} {
		c.raw("tidings.live.orders.a", `1`, h)
	}
	c.publish("orders.b", `2`)
	for m := client.next(); m.Topic != "orders.b"; m = client.next() {
		t.Logf("got %s", m.text)
	}
	client.quiet()
	client.data(at("orders.b", c.publish("orders.b", `3`)))
}

func TestUnsubscribedTopics_AreNotDelivered(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.eu.*", "metrics.a")
	for _, topic := range []string{"orders.eu", "orders.eu.paris.1", "orders.us.ny", "order.eu.paris", "metrics.b", "metrics.a.b"} {
		c.publish(topic, `1`)
	}
	client.data(at("orders.eu.paris", c.publish("orders.eu.paris", `1`)), at("metrics.a", c.publish("metrics.a", `1`)))
	client.quiet()
}

func TestSnapshot_IsTheLastOfEachLatestTopic(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	for range 3 {
		c.publish("orders.a", `"not retained for newcomers"`)
		c.publish("host.a", `1`)
	}
	var want []string
	for _, topic := range []string{"metrics.b", "containers.a", "metrics.a", "container-stats.a"} {
		c.publish(topic, `"older"`)
		want = append(want, at(topic, c.publish(topic, `"newer"`)))
	}
	for range 2 { // the second time the edge knows them already
		client := n.dial()
		client.subscribe("metrics.*", "containers.*", "container-stats.*", "orders.*")
		got := map[string]bool{}
		for range want {
			m := client.next()
			got[at(m.Topic, m.Seq)] = true
			if m.Prev != m.Seq-1 || string(m.Payload) != `"newer"` {
				t.Errorf("got %s", m.text)
			}
		}
		for _, w := range want {
			if !got[w] {
				t.Errorf("%s did not come", w)
			}
		}
		client.quiet()
	}
}

func TestSnapshotFalse_StartsLive(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	seq := c.publish("metrics.a", `1`)
	client := n.dial()
	if ack := client.subscribe(`{"topic":"metrics.*","snapshot":false}`); ack[0].Seq != seq || ack[0].Recovered != nil {
		t.Errorf("acked with %+v", ack)
	}
	client.quiet()
	client.data(at("metrics.a", c.publish("metrics.a", `2`)))
}

func TestLastN_BringsTheNewestNOfEachTopic(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	var want []string
	for i := range 10 {
		for _, topic := range []string{"metrics.a", "orders.a", "orders.b"} {
			if seq := c.publish(topic, fmt.Sprint(i)); i >= 6 {
				want = append(want, at(topic, seq))
			}
		}
	}
	client := n.dial()
	client.subscribe(`{"topic":"*.*","last":4}`)
	client.data(want...)
	client.quiet()
	// More than there are: all of them.
	client = n.dial()
	client.subscribe(`{"topic":"orders.a","last":1000}`)
	for i := range 10 {
		if m := client.next(); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("got %s, want the message with %d", m.text, i)
		}
	}
	client.data(at("orders.a", c.publish("orders.a", `10`)))
}

// A page that shows the newest value of all hosts opens the chart of one.
func TestLastN_OfATopicThatIsHeldOtherwise_BringsWhatDidNotComeYet(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	var seqs []uint64
	for i := range 5 {
		seqs = append(seqs, c.publish("metrics.a", fmt.Sprint(i)))
	}
	client.subscribe("metrics.*")
	client.data(at("metrics.a", seqs[4]))
	live := c.publish("metrics.a", `5`)
	client.data(at("metrics.a", live))
	client.subscribe(`{"topic":"metrics.a","last":5}`)
	client.data(at("metrics.a", seqs[1]), at("metrics.a", seqs[2]), at("metrics.a", seqs[3]))
	client.quiet()
}
