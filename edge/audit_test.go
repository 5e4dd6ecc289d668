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

// A message that never came, and that no later one betrays, is found by asking the stream twice.
func TestLostLastMessage_IsFoundByTheAudit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	line := bustest.New(t).Connect(t)
	e, err := New(Config{Bus: line, Open: true, Listen: "127.0.0.1:0", DrainWindow: time.Millisecond, DrainGrace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(serving) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client, _, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseNow()
	next := func(kind string) wire.Message {
		t.Helper()
		for {
			_, text, err := client.Read(ctx)
			if err != nil {
				t.Fatalf("waiting for %s: %v", kind, err)
			}
			if m, err := wire.ParseMessage(text); err != nil || m.Type == kind {
				return m
			}
		}
	}
	if err := client.Write(ctx, websocket.MessageText, []byte(`{"type":"subscribe","id":1,"topics":["orders.a"]}`)); err != nil {
		t.Fatal(err)
	}
	next("ack")

	// The edge goes deaf for the length of one message.
	e.hub.on(func() { err = e.hub.listener.Remove("orders.a") })
	if err == nil {
		err = line.Flush(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	seq, err := line.Publish(ctx, "orders.a", []byte(`"lost"`), bus.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.hub.on(func() { err = e.hub.listener.Add("orders.a") })
	if err != nil {
		t.Fatal(err)
	}

	look := func() (suspects int) {
		e.hub.on(e.hub.audit)
		for busy := true; busy; {
			e.hub.on(func() { busy, suspects = e.hub.auditing, len(e.hub.suspected) })
		}
		return suspects
	}
	if n := look(); n != 1 {
		t.Fatalf("the first look suspects %d topics", n)
	}
	e.hub.on(func() {
		if e.hub.repairing {
			t.Error("the first look already repairs; the message may be on its way")
		}
	})
	look()
	if m := next("orders"); m.Seq != seq || string(m.Payload) != `"lost"` {
		t.Errorf("got %d %s", m.Seq, m.Payload)
	}
}
