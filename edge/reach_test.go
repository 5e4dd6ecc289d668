package edge_test

import (
	"fmt"
	"testing"
)

func TestResume_FromBeyondTheEnd_IsNoPosition(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	c.publish("orders.a", `0`)
	value := c.publish("metrics.a", `0`)
	client := n.dial()
	client.say(`{"type":"subscribe","id":1,"topics":[%s,%s]}`, since("orders.*", c.epoch(), value+1), since("metrics.*", c.epoch(), value+1000))
	client.expect(fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[`+
		`{"topic":"orders.*","epoch":"%[1]s","seq":%[2]d,"recovered":false},{"topic":"metrics.*","epoch":"%[1]s","seq":%[2]d,"recovered":false}]}}`, c.epoch(), value),
		fmt.Sprintf(`{"type":"gap","topic":"orders.a","timestamp":T,"payload":{"after":0,"before":%d,"reason":"epoch"}}`, value+1))
	client.data(at("metrics.a", value))
	client.quiet()
	client.data(at("orders.a", c.publish("orders.a", `1`)))
}

// A position that this edge has not come to, since it was reached by what nobody wants here, is one nevertheless.
func TestResume_FromWhatOnlyOthersWereTold_IsRecovered(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	n.dial().subscribe("orders.*")
	order := c.publish("orders.a", `0`)
	c.hears(n, 1)
	var place uint64
	for range 5 {
		place = c.publish("other.a", `0`)
	}
	client := n.dial()
	if acks := client.resume(true, since("orders.*", c.epoch(), place)); acks[0].Seq != place {
		t.Errorf("acked with %+v, want %d: the client has come so far, and the edge, at %d, knows of nothing else", acks, place, order)
	}
	client.quiet()
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	// While NATS can't be asked, nothing is claimed.
	further, epoch := c.publish("other.a", `0`), c.epoch()
	c.nats.Stop()
	late := n.dial()
	late.expectType("status")
	late.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", epoch, further))
	if m := late.next(); m.Type != "error" || m.ID != 1 {
		t.Errorf("got %s", m.text)
	}
}
