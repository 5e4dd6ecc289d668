package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"tidings/edge"
	"tidings/edge/wire"
)

func TestRequests_AreAnsweredInOrder(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	c.publish("metrics.a", `1`)
	// All at once, so that the subscribes wait for NATS while the others are there already.
	client.say(`{"type":"subscribe","id":1,"topics":["orders.a"]}`)
	client.say(`{"type":"heartbeat","id":2}`)
	client.say(`{"type":"subscribe","id":3,"topics":["orders.b","orders.>"]}`)
	client.say(`{"type":"unsubscribe","id":4,"topics":["orders.a"]}`)
	client.say(`{"type":"nonsense","id":5}`)
	client.say(`{"type":"subscribe","id":6,"topics":["orders.c"]}`)
	client.say(`{"type":"heartbeat","id":7}`)
	epoch := c.epoch()
	client.expect(
		fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[{"topic":"orders.a","epoch":"%s","seq":1}]}}`, epoch),
		`{"type":"ack","id":2,"timestamp":T}`,
		fmt.Sprintf(`{"type":"ack","id":3,"timestamp":T,"payload":{"topics":[{"topic":"orders.b","epoch":"%s","seq":1},{"topic":"orders.>","epoch":"%s","seq":1}]}}`, epoch, epoch),
		`{"type":"ack","id":4,"timestamp":T}`,
	)
	if m := client.next(); m.Type != "error" || m.ID != 5 {
		t.Errorf("got %s", m.text)
	}
	client.expect(
		fmt.Sprintf(`{"type":"ack","id":6,"timestamp":T,"payload":{"topics":[{"topic":"orders.c","epoch":"%s","seq":1}]}}`, epoch),
		`{"type":"ack","id":7,"timestamp":T}`,
	)
}

func TestManyRequestsInOnePacket_AreAnsweredInOrder(t *testing.T) {
	p := newCluster(t).edge().peer(0)
	var all []byte
	const many = 100
	for id := 1; id <= many; id++ {
		all = append(all, masked(true, 1, fmt.Appendf(nil, `{"type":"subscribe","id":%d,"topics":["orders.t%d"]}`, id, id%10))...) // new ones, and ones that are held
	}
	p.send(all)
	for id := uint64(1); id <= many; id++ {
		if m := p.expectType("ack"); m.ID != id {
			t.Fatalf("got %s\nwanted the ack of %d", m.text, id)
		}
	}
}

func TestBadRequests_AreToldTheField(t *testing.T) {
	client := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.BadRequests = 1000 }).dial()
	for _, c := range []struct {
		request string
		id      uint64
		field   string
	}{
		{`{"type":"fly","id":1}`, 1, "type"},
		{`{"id":2}`, 2, "type"},
		{`{"type":7,"id":3}`, 3, "type"},
		{`{"type":"heartbeat"}`, 0, "id"},
		{`{"type":"heartbeat","id":0}`, 0, "id"},
		{`{"type":"heartbeat","id":-1}`, 0, "id"},
		{`{"type":"heartbeat","id":"1"}`, 0, "id"},
		{`{"type":"heartbeat","id":1.5}`, 0, "id"},
		{`{"type":"heartbeat","id":99999999999999999999}`, 0, "id"},
		{`{"type":"subscribe","id":4}`, 4, "topics"},
		{`{"type":"subscribe","id":5,"topics":[]}`, 5, "topics"},
		{`{"type":"subscribe","id":6,"topics":"metrics.a"}`, 6, "topics"},
		{`{"type":"subscribe","id":7,"topics":["metrics.a",7]}`, 7, "topics[1]"},
		{`{"type":"subscribe","id":8,"topics":[{}]}`, 8, "topics[0].topic"},
		{`{"type":"subscribe","id":9,"topics":["metrics..a"]}`, 9, "topics[0]"},
		{`{"type":"subscribe","id":10,"topics":["ok.a","metrics.a b"]}`, 10, "topics[1]"},
		{`{"type":"subscribe","id":11,"topics":["metrics.>.a"]}`, 11, "topics[0]"},
		{`{"type":"subscribe","id":12,"topics":["metrics.a*"]}`, 12, "topics[0]"},
		{`{"type":"subscribe","id":13,"topics":["ack.a"]}`, 13, "topics[0]"},
		{`{"type":"subscribe","id":14,"topics":["` + strings.Repeat("a.", 16) + `a"]}`, 14, "topics[0]"},
		{`{"type":"subscribe","id":15,"topics":["` + strings.Repeat("a", 256) + `"]}`, 15, "topics[0]"},
		{`{"type":"subscribe","id":16,"topics":[{"topic":"metrics.a","interval_ms":99}]}`, 16, "topics[0].interval_ms"},
		{`{"type":"subscribe","id":17,"topics":[{"topic":"metrics.a","interval_ms":60001}]}`, 17, "topics[0].interval_ms"},
		{`{"type":"subscribe","id":18,"topics":[{"topic":"metrics.a","last":0}]}`, 18, "topics[0].last"},
		{`{"type":"subscribe","id":19,"topics":[{"topic":"metrics.a","last":-5}]}`, 19, "topics[0].last"},
		{`{"type":"subscribe","id":20,"topics":[{"topic":"metrics.a","last":1000000}]}`, 20, "topics[0].last"},
		{`{"type":"subscribe","id":21,"topics":[{"topic":"metrics.a","snapshot":1}]}`, 21, "topics[0].snapshot"},
		{`{"type":"subscribe","id":22,"topics":[{"topic":"metrics.a","since":5}]}`, 22, "topics[0].since"},
		{`{"type":"subscribe","id":23,"topics":[{"topic":"metrics.a","since":{"epoch":"x"}}]}`, 23, "topics[0].since.seq"},
		{`{"type":"subscribe","id":24,"topics":[{"topic":"metrics.a","since":{"seq":1}}]}`, 24, "topics[0].since.epoch"},
		{`{"type":"unsubscribe","id":25,"topics":[]}`, 25, "topics"},
		{`{"type":"unsubscribe","id":26,"topics":["a b"]}`, 26, "topics[0]"},
		{`{"type":"action","id":27,"host":"web-1","container":"api","action":"explode"}`, 27, "action"},
		{`{"type":"refresh","id":28}`, 28, "token"},
		{`{"type":"heartbeat","id":29`, 0, "json"},
		{`[]`, 0, "object"},
		{``, 0, "json"},
	} {
		client.say("%s", c.request)
		m := client.next()
		var p wire.ErrorPayload
		if m.Type != "error" {
			t.Fatalf("%s got %s", c.request, m.text)
		}
		if p = payload[wire.ErrorPayload](t, m); p.Code != wire.BadRequest || m.ID != c.id || !strings.Contains(p.Message, c.field) {
			t.Errorf("%s\ngot %s\nwanted a bad_request of id %d that names %s", c.request, m.text, c.id, c.field)
		}
	}
	client.quiet()
}

func TestBinaryMessage_IsABadRequest(t *testing.T) {
	client := newCluster(t).edge().dial()
	if err := client.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"heartbeat","id":1}`)); err != nil {
		t.Fatal(err)
	}
	m := client.next()
	if m.Type != "error" || m.ID != 0 || payload[wire.ErrorPayload](t, m).Code != wire.BadRequest {
		t.Errorf("got %s", m.text)
	}
	client.quiet()
}

func TestUnknownFields_AreIgnored(t *testing.T) {
	client := newCluster(t).edge().dial()
	client.say(`{"colour":{"a":[1,"]"]},"type":"subscribe","id":1,"topics":[{"topic":"metrics.a","weight":5}],"last":7}`)
	client.acked(1)
}

func TestTenBadRequests_CloseTheConnection(t *testing.T) {
	n := newCluster(t).edge()
	client := n.dial()
	const most = 10
	for range most - 1 {
		client.say(`nonsense`)
		if m := client.next(); m.Type != "error" {
			t.Fatalf("got %s", m.text)
		}
	}
	client.quiet() // nine are borne
	client.say(`nonsense`)
	if m := client.next(); m.Type != "error" {
		t.Fatalf("got %s", m.text)
	}
	client.closed(wire.CloseTooManyBad)
	if n.value("tidings_edge_errors_total", "code", "bad_request") != most || n.value("tidings_edge_closes_total", "code", "4502") != 1 {
		t.Error("they were not counted")
	}
}

func TestActionsAndTokens_AreDisabled(t *testing.T) {
	client := newCluster(t).edge().dial()
	for id, request := range map[uint64]string{
		1: `{"type":"action","id":1,"host":"web-1","container":"api","action":"restart","timeout_ms":10000}`,
		2: `{"type":"refresh","id":2,"token":"eyJ"}`,
	} {
		client.say("%s", request)
		m := client.next()
		if m.Type != "error" || m.ID != id || payload[wire.ErrorPayload](t, m).Code != wire.Disabled {
			t.Errorf("%s got %s", request, m.text)
		}
	}
}

func TestSubscribe_IsTakenWholeOrNotAtAll(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Limits.Subscriptions = 3 })
	client := n.dial()
	refusedWith := func(code wire.Code) {
		t.Helper()
		if m := client.next(); m.Type != "error" || payload[wire.ErrorPayload](t, m).Code != code {
			t.Fatalf("got %s, want %s", m.text, code)
		}
	}
	client.say(`{"type":"subscribe","id":1,"topics":["orders.a","orders.b","no good"]}`)
	refusedWith(wire.BadRequest)
	client.say(`{"type":"subscribe","id":2,"topics":["orders.a","orders.b","orders.c","orders.d"]}`)
	refusedWith(wire.LimitExceeded)
	if got := n.value("tidings_edge_subscriptions"); got != 0 {
		t.Errorf("%v subscriptions are held", got)
	}
	client.subscribe("orders.a", "orders.b")
	client.say(`{"type":"subscribe","id":3,"topics":["orders.c","orders.d"]}`)
	refusedWith(wire.LimitExceeded)
	client.id = 3
	// What is held already, or named twice, takes no place.
	client.subscribe("orders.b", "orders.c", "orders.a", "orders.c")
	c.publish("orders.d", `1`)
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	client.unsubscribe("orders.a")
	client.subscribe("orders.d")
	client.data(at("orders.d", c.publish("orders.d", `2`)))
	if got := n.value("tidings_edge_subscriptions"); got != 3 {
		t.Errorf("%v subscriptions are held", got)
	}
}

func TestSubscribingToWhatIsHeld_MovesNothing(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	seq := c.publish("metrics.a", `1`)
	client.subscribe("metrics.a")
	client.data(at("metrics.a", seq))
	for _, again := range []string{"metrics.a", `{"topic":"metrics.a","last":5}`,
		fmt.Sprintf(`{"topic":"metrics.a","since":{"epoch":"%s","seq":0}}`, c.epoch())} {
		got := client.subscribe(again)
		if len(got) != 1 || got[0].Topic != "metrics.a" || got[0].Epoch != c.epoch() || got[0].Seq < seq {
			t.Errorf("%s: acked with %+v", again, got)
		}
		client.quiet()
	}
	client.data(at("metrics.a", c.publish("metrics.a", `2`))) // once
	client.quiet()
}

func TestUnsubscribed_NothingMoreComes(t *testing.T) {
	c := newCluster(t)
	client := c.edge().dial()
	client.subscribe("orders.a", "orders.b")
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	client.unsubscribe("orders.a", "never.held")
	c.publish("orders.a", `2`)
	client.data(at("orders.b", c.publish("orders.b", `3`)))
	client.quiet()
	client.subscribe("orders.a")
	client.quiet() // `every` topics start live
	client.data(at("orders.a", c.publish("orders.a", `4`)))
}
