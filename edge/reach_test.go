package edge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tidings/bus/bustest"
	"tidings/bus/embedded"
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

// After a power cut the stream may lack its end, which clients were told, and still be the same one by its epoch.
func TestStreamThatLostItsEnd_DoesNotRecoverPositionsBeyondIt(t *testing.T) {
	var store string
	nats := bustest.New(t, func(cfg *embedded.Config) { store = cfg.Dir })
	c := &cluster{t: t, nats: nats, bus: nats.Connect(t)}
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*", "metrics.*")
	kept := c.publish("orders.a", `"kept"`)
	value := c.publish("metrics.a", `"kept"`)
	client.data(at("orders.a", kept), at("metrics.a", value))

	synced := filepath.Join(t.TempDir(), "synced")
	nats.Stop()
	if err := os.CopyFS(synced, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	nats.Restart()
	eventually(t, "NATS is back", func() bool { return c.bus.Ready() == nil && len(n.Ready()) == 0 })
	for range 2 {
		client.expectType("status")
	}
	lost := c.publish("orders.a", `"lost"`)
	client.data(at("orders.a", lost))
	epoch := c.epoch()

	nats.Stop()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(synced)); err != nil {
		t.Fatal(err)
	}
	nats.Restart()
	eventually(t, "NATS is back", func() bool { return c.bus.Ready() == nil })
	if c.epoch() != epoch {
		t.Fatal("the epoch is another one")
	}
	late := c.edge().dial()
	late.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", epoch, lost))
	late.expect(fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[{"topic":"orders.*","epoch":"%s","seq":%d,"recovered":false}]}}`, epoch, value),
		fmt.Sprintf(`{"type":"gap","topic":"orders.a","timestamp":T,"payload":{"after":0,"before":%d,"reason":"epoch"}}`, value+1))
	if again := c.publish("orders.a", `"another"`); again != lost {
		t.Fatalf("the next message has place %d, want the one that was lost, %d", again, lost)
	}
	late.data(at("orders.a", lost))
}
