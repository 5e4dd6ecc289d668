package edge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"tidings/bus/bustest"
	"tidings/bus/embedded"
	"tidings/edge"
)

// powerCut is a NATS server whose stream can lose its end: after cut it has what it had at sync, under the same epoch.
type powerCut struct {
	*cluster
	store, synced string
}

func newPowerCut(t *testing.T) *powerCut {
	p := &powerCut{synced: filepath.Join(t.TempDir(), "synced")}
	server := bustest.New(t, func(cfg *embedded.Config) { p.store = cfg.Dir })
	p.cluster = &cluster{t: t, nats: server, bus: server.Connect(t)}
	return p
}

func (p *powerCut) sync() {
	p.nats.Stop()
	if err := os.CopyFS(p.synced, os.DirFS(p.store)); err != nil {
		p.t.Fatal(err)
	}
	p.nats.Restart(p.bus)
}

// cut restarts NATS without what was lost, after others have published on some topics.
func (p *powerCut) cut(meanwhile ...string) {
	epoch := p.epoch()
	p.nats.Stop()
	if err := os.RemoveAll(p.store); err != nil {
		p.t.Fatal(err)
	}
	if err := os.CopyFS(p.store, os.DirFS(p.synced)); err != nil {
		p.t.Fatal(err)
	}
	p.elsewhere(meanwhile)
	p.nats.Restart(p.bus)
	if p.epoch() != epoch {
		p.t.Fatal("the epoch is another one")
	}
}

// elsewhere publishes on topics where no edge listens.
func (p *powerCut) elsewhere(topics []string) {
	server, err := embedded.Start(embedded.Config{Dir: p.store, Listen: "127.0.0.1:0"})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() {
		if err := server.Shutdown(); err != nil {
			p.t.Fatal(err)
		}
	}()
	line, err := nats.Connect(server.ClientURL())
	if err != nil {
		p.t.Fatal(err)
	}
	defer line.Close()
	js, err := line.JetStream()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, topic := range topics {
		if _, err := js.Publish("tidings.pub."+topic, []byte(`"elsewhere"`)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// An edge that did not see what was lost still knows that the stream does not reach so far.
func TestStreamThatLostItsEnd_DoesNotRecoverPositionsBeyondIt(t *testing.T) {
	c := newPowerCut(t)
	c.publish("orders.a", `"kept"`)
	value := c.publish("metrics.a", `"kept"`)
	c.sync()
	lost := c.publish("orders.a", `"lost"`)
	epoch := c.epoch()
	c.cut()
	late := c.edge().dial()
	late.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", epoch, lost))
	late.expect(fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[{"topic":"orders.*","epoch":"%s","seq":%d,"recovered":false}]}}`, epoch, value),
		fmt.Sprintf(`{"type":"gap","topic":"orders.a","timestamp":T,"payload":{"after":0,"before":%d,"reason":"epoch"}}`, value+1))
	if again := c.publish("orders.a", `"another"`); again != lost {
		t.Fatalf("the next message has place %d, want the one that was lost, %d", again, lost)
	}
	late.data(at("orders.a", lost))
}

// An edge that did see it goes back to where the stream is what it was, says so, and drops nothing that is new there.
func TestStreamThatLostItsEnd_IsFollowedFromThere(t *testing.T) {
	c := newPowerCut(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	seer := n.dial()
	seer.subscribe("orders.*", "metrics.*")
	quiet := c.publish("orders.quiet", `"kept"`)
	kept := c.publish("orders.a", `"kept"`)
	value := c.publish("metrics.a", `"kept"`)
	seer.data(at("orders.quiet", quiet), at("orders.a", kept), at("metrics.a", value))
	c.sync()
	seer.expectType("status")
	seer.expectType("status")
	lost := c.publish("orders.a", `"lost"`)
	lostValue := c.publish("metrics.a", `"lost"`)
	seer.data(at("orders.a", lost), at("metrics.a", lostValue))
	c.cut()
	seer.expectType("status")
	seer.expect(fmt.Sprintf(`{"type":"gap","topic":"orders.a","timestamp":T,"payload":{"after":%d,"before":%d,"reason":"epoch"}}`, value, lost+1))
	seer.data(at("metrics.a", value)) // what it is, as far as the stream knows
	seer.expectType("status")
	if again := c.publish("orders.a", `"another"`); again != lost {
		t.Fatalf("the next message has place %d, want the one that was lost, %d", again, lost)
	}
	again := c.publish("metrics.a", `"another"`)
	seer.data(at("orders.a", lost), at("metrics.a", again))
	if got := n.value("tidings_edge_stream_rewinds_total"); got != 1 {
		t.Errorf("%v rewinds", got)
	}

	// A position from before is one, and one among what has had two lives is not.
	late := n.dial()
	late.resume(true, since("orders.*", c.epoch(), kept))
	late.data(at("orders.a", lost))
	doubtful := n.dial()
	doubtful.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.a", c.epoch(), lost))
	if acks := doubtful.acked(1); acks[0].Recovered == nil || *acks[0].Recovered {
		t.Errorf("acked with %+v", acks)
	}
	if m := doubtful.next(); m.Type != "gap" {
		t.Errorf("got %s", m.text)
	}
	next := c.publish("orders.a", `"next"`)
	for _, each := range []*client{seer, late, doubtful} {
		each.data(at("orders.a", next))
	}
	certain := n.dial()
	certain.resume(true, since("orders.*", c.epoch(), next))
	certain.quiet()
}

// By the time that an edge is back the stream may have come further than it ever was, and every place that was lost have a new message.
func TestStreamThatLostItsEnd_AndGrewAgain_IsFollowedFromThere(t *testing.T) {
	c := newPowerCut(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	seer := n.dial()
	seer.subscribe("orders.*")
	kept := c.publish("orders.a", `"kept"`)
	seer.data(at("orders.a", kept))
	c.sync()
	seer.expectType("status")
	seer.expectType("status")
	seer.data(at("orders.a", c.publish("orders.a", `"lost"`)), at("orders.b", c.publish("orders.b", `"lost"`)))
	c.cut("orders.b", "orders.a", "orders.a", "orders.c")
	seer.expectType("status")
	gaps := []string{seer.expectType("gap").text, seer.expectType("gap").text}
	slices.Sort(gaps)
	for i, topic := range []string{"orders.a", "orders.b"} {
		if want := fmt.Sprintf(`"topic":"%s"`, topic); !strings.Contains(gaps[i], want) || !strings.Contains(gaps[i], `"reason":"epoch"`) {
			t.Errorf("got %s, want a gap of %s", gaps[i], topic)
		}
	}
	seer.data(at("orders.b", kept+1), at("orders.a", kept+2), at("orders.a", kept+3), at("orders.c", kept+4))
	seer.expectType("status")
	seer.data(at("orders.b", c.publish("orders.b", `"next"`)))
	seer.quiet()
}

// NATS that was only away has what it had: nothing is told, and each position is one, also when the newest message has lapsed meanwhile.
func TestStreamThatLostNothing_IsNotRewound(t *testing.T) {
	c := newPowerCut(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	seer := n.dial()
	seer.subscribe("orders.*")
	kept := c.publish("orders.a", `"kept"`)
	gone := c.publish("orders.b", `"gone"`)
	seer.data(at("orders.a", kept), at("orders.b", gone))
	c.delete(gone)
	c.sync()
	seer.expectType("status")
	seer.expectType("status")
	seer.data(at("orders.a", c.publish("orders.a", `"next"`)))
	if got := n.value("tidings_edge_stream_rewinds_total"); got != 0 {
		t.Errorf("%v rewinds", got)
	}
	n.dial().resume(true, since("orders.a", c.epoch(), gone))
}

// delete takes one message out of the stream, as an operator may.
func (p *powerCut) delete(seq uint64) {
	js, err := p.line().JetStream()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := js.DeleteMsg("TIDINGS", seq); err != nil {
		p.t.Fatal(err)
	}
}
