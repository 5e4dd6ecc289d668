package edge

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/wire"
)

// on runs do on the hub and waits for it.
func (h *hub) on(do func()) {
	done := make(chan struct{})
	h.mail.put(func() { do(); close(done) })
	<-done
}

// audited is an edge with one client, whose NATS line can be made deaf.
type audited struct {
	t      *testing.T
	ctx    context.Context
	line   *bus.Conn
	edge   *Edge
	client *websocket.Conn
}

// newAudited returns when the client has subscribed.
func newAudited(t *testing.T, request string) *audited {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	line := bustest.New(t).Connect(t)
	e, err := New(Config{Open: true, Bus: line, Listen: "127.0.0.1:0", DrainWindow: time.Millisecond, DrainGrace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(serving) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	client, _, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.CloseNow() })
	a := &audited{t, ctx, line, e, client}
	if err := client.Write(ctx, websocket.MessageText, []byte(request)); err != nil {
		t.Fatal(err)
	}
	a.next("ack")
	return a
}

// next is the next message of a type.
func (a *audited) next(kind string) wire.Message {
	a.t.Helper()
	for {
		_, text, err := a.client.Read(a.ctx)
		if err != nil {
			a.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if m, err := wire.ParseMessage(text); err != nil || m.Type == kind {
			return m
		}
	}
}

// lose publishes a message while the edge is deaf to its topic.
func (a *audited) lose(topic bus.Topic, payload string, o bus.PublishOptions) (seq uint64) {
	a.t.Helper()
	var err error
	a.edge.hub.on(func() { err = a.edge.hub.listener.Remove(bus.Pattern(topic)) })
	if err == nil {
		err = a.line.Flush(a.ctx)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	seq = a.publish(topic, payload, o)
	a.edge.hub.on(func() { err = a.edge.hub.listener.Add(bus.Pattern(topic)) })
	if err == nil {
		err = a.line.Flush(a.ctx)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return seq
}

func (a *audited) publish(topic bus.Topic, payload string, o bus.PublishOptions) (seq uint64) {
	a.t.Helper()
	seq, err := a.line.Publish(a.ctx, topic, []byte(payload), o)
	if err != nil {
		a.t.Fatal(err)
	}
	return seq
}

// look is one audit. It returns how many topics it suspects.
func (a *audited) look() (suspects int) {
	a.t.Helper()
	h := a.edge.hub
	h.on(h.audit)
	for busy := true; busy; {
		h.on(func() { busy, suspects = h.auditing, len(h.suspected) })
	}
	return suspects
}

// A message that never came, and that no later one betrays, is found by asking the stream twice.
func TestLostLastMessage_IsFoundByTheAudit(t *testing.T) {
	a := newAudited(t, `{"type":"subscribe","id":1,"topics":["orders.a"]}`)
	seq := a.lose("orders.a", `"lost"`, bus.PublishOptions{})
	if n := a.look(); n != 1 {
		t.Fatalf("the first look suspects %d topics", n)
	}
	a.edge.hub.on(func() {
		if a.edge.hub.repairing {
			t.Error("the first look already repairs; the message may be on its way")
		}
	})
	a.look()
	if m := a.next("orders"); m.Seq != seq || string(m.Payload) != `"lost"` {
		t.Errorf("got %d %s", m.Seq, m.Payload)
	}
}

// Where one message was lost others may have been. Values of latest topics, whose next one is on its way, are looked at then
// and only then; so is whether they lapsed.
func TestLostLastValue_IsFoundWhereAHoleShowed(t *testing.T) {
	a := newAudited(t, `{"type":"subscribe","id":1,"topics":["orders.a","metrics.m","metrics.n"]}`)
	for _, topic := range []bus.Topic{"metrics.m", "metrics.n"} {
		a.publish(topic, `"seen"`, bus.PublishOptions{})
		a.next("metrics")
	}
	seq := a.lose("metrics.m", `"lost"`, bus.PublishOptions{})
	a.lose("metrics.n", "", bus.PublishOptions{Gone: true})
	if n := a.look(); n != 0 {
		t.Errorf("no hole has shown, and %d topics are suspected", n)
	}
	a.lose("orders.a", `1`, bus.PublishOptions{})
	a.publish("orders.a", `2`, bus.PublishOptions{})
	for _, payload := range []string{"1", "2"} {
		if m := a.next("orders"); string(m.Payload) != payload {
			t.Fatalf("got %s where %s was due", m.Payload, payload)
		}
	}
	if n := a.look(); n != 2 {
		t.Fatalf("after a hole %d topics are suspected", n)
	}
	a.look()
	lost, gone := a.next("metrics"), a.next("metrics")
	if lost.Topic != "metrics.m" {
		lost, gone = gone, lost
	}
	if lost.Seq != seq || string(lost.Payload) != `"lost"` {
		t.Errorf("got %+v for the lost value", lost)
	}
	if gone.Topic != "metrics.n" || !gone.Gone {
		t.Errorf("got %+v for the lost word that a value lapsed", gone)
	}
}
