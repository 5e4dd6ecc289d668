package client

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/edge/wire"
)

func TestSubscribe_WhileConnected(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enter()
	a.ack(a.hear("subscribe metrics.*"), 10)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10")
	if err := w.Subscribe("orders.>", Options{Last: 5, Interval: time.Second, LiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	a.ack(a.hear("subscribe orders.> last=5 live interval=1s"), 11)
	w.hears("subscribed orders.> at e1:11")
	a.data("metrics.a", 12, 0)
	w.hears("metrics.a 12")
	if err := w.Unsubscribe("metrics.*"); err != nil {
		t.Fatal(err)
	}
	r := <-a.heard
	if r.Type != wire.Unsubscribe || len(r.Topics) != 1 || r.Topics[0].Topic != "metrics.*" {
		t.Fatalf("heard %+v", r)
	}
	a.data("metrics.a", 13, 12) // was on its way
	a.say(wire.AppendAck(nil, r.ID, 1, nil))
	a.data("orders.eu.paris", 14, 0)
	w.hears("orders.eu.paris 14")
}

func TestSubscribe_RefusesWhatCannotBe(t *testing.T) {
	s := newScene(t)
	w := prepare(t, s, Config{})
	for pattern, o := range map[string]Options{
		"a..b":   {},
		"a.b c":  {},
		"ack.x":  {},
		"last.a": {Last: -1},
		"last.b": {Last: wire.MaxLast + 1},
		"fast.a": {Interval: time.Millisecond},
		"slow.a": {Interval: time.Hour},
		"epoch":  {Since: &wire.Position{Seq: 3}},
	} {
		if err := w.Subscribe(pattern, o); err == nil {
			t.Errorf("%s %+v: taken", pattern, o)
		}
	}
	if err := w.Subscribe("metrics.*", Options{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Subscribe("metrics.*", Options{}); err == nil {
		t.Error("the same pattern was taken twice")
	}
	if err := w.Unsubscribe("orders.*"); err == nil {
		t.Error("unsubscribed from what was not subscribed")
	}
}

func TestRefused_NamesTheOneAndKeepsTheRest(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*", "secret.*")
	a := s.enter()
	forbidden := &wire.Error{Code: wire.Forbidden, Message: "no"}
	a.say(wire.AppendError(nil, a.hear("subscribe metrics.* secret.*").ID, 1, forbidden))
	a.ack(a.hear("subscribe metrics.*"), 10)
	a.say(wire.AppendError(nil, a.hear("subscribe secret.*").ID, 1, forbidden))
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10", `refused "secret.*" forbidden: no`)
	a.say(wire.AppendError(nil, 0, 1, &wire.Error{Code: wire.TokenExpired, Message: "soon"}))
	w.hears(`refused "" token_expired: soon`)
	a.drop()
	w.hears("disconnected")
	s.enter().hear("subscribe metrics.*") // and no more of the other
}

func TestRefused_TriesAgainWhatMayPass(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "metrics.*")
	a := s.enter()
	a.say(wire.AppendError(nil, a.hear("subscribe metrics.*").ID, 1, &wire.Error{Code: wire.Unavailable, Message: "NATS is away", RetryAfter: time.Millisecond}))
	a.ack(a.hear("subscribe metrics.*"), 10)
	w.hears("connected to edge-0", "subscribed metrics.* at e1:10")
}

func TestStatus_IsTold(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{})
	a := s.enter()
	a.say(wire.AppendStatus(nil, 2, true, 1))
	a.say(wire.AppendStatus(nil, 3, false, 3))
	w.hears("connected to edge-0", "status degraded", "status ok")
}

func TestMessage_HasTheTextAsItCame(t *testing.T) {
	s := newScene(t)
	texts := make(chan string, 2)
	w := watch(t, s, Config{Handler: Handler{Message: func(m Message) { texts <- string(m.Raw) }}}, "orders.*")
	a := s.enter()
	a.ack(a.hear("subscribe orders.*"), 1)
	w.hears("connected to edge-0", "subscribed orders.* at e1:1")
	for _, text := range []string{
		`{"type":"orders","topic":"orders.a","seq":2,"prev":0,"timestamp":2,"payload":{"a" : 1.50}}`,
		`{"type":"orders","topic":"orders.a","seq":3,"prev":2,"timestamp":3,"gone":true}`,
	} {
		a.say([]byte(text))
		if got := <-texts; got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

func TestGone_IsToldAndForgottenInTheEnd(t *testing.T) {
	s := newScene(t)
	w := watch(t, s, Config{}, "host.*")
	a := s.enter()
	a.ack(a.hear("subscribe host.*"), 1)
	w.hears("connected to edge-0", "subscribed host.* at e1:1")
	a.say(wire.AppendData(nil, wire.Data{Topic: "host.a", Seq: 2, Time: 2, Gone: true}))
	w.hears("host.a 2 gone")

	r := newRun(w.Client)
	for i := range 3 * maxGone {
		topic := &topic{}
		r.topics["host."+strings.Repeat("x", i)] = topic
		r.remember(topic, true)
	}
	if n := len(r.topics); n > maxGone {
		t.Errorf("%d topics that are gone are remembered, want at most %d", n, maxGone)
	}
}

func TestToken_IsAskedForEachConnection(t *testing.T) {
	s := newScene(t)
	tokens := []string{"one", "two"}
	w := watch(t, s, Config{
		Header: http.Header{"X-Team": {"red"}},
		Token: func(context.Context) (string, error) {
			token := tokens[0]
			tokens = tokens[1:]
			return token, nil
		},
	})
	a := s.enter()
	if got := a.handshake.Header; got.Get("Authorization") != "Bearer one" || got.Get("X-Team") != "red" || got.Get("Sec-Websocket-Protocol") != wire.Subprotocol {
		t.Errorf("header %v", got)
	}
	w.hears("connected to edge-0")
	a.close(wire.CloseTokenExpired, "")
	w.hears("disconnected 4401 token expired")
	if got := s.enter().handshake.Header.Get("Authorization"); got != "Bearer two" {
		t.Errorf("came back with %q", got)
	}
}

func TestSlowHandler_StopsTheEdge(t *testing.T) {
	s := newScene(t)
	release := make(chan struct{})
	var seqs []uint64
	w := watch(t, s, Config{Handler: Handler{Message: func(m Message) {
		<-release
		seqs = append(seqs, m.Seq)
	}}}, "orders.*")
	defer close(release)
	a := s.enter()
	a.ack(a.hear("subscribe orders.*"), 0)
	w.hears("connected to edge-0", "subscribed orders.* at e1:0")
	payload := slices.Concat([]byte(`"`), []byte(strings.Repeat("x", 1<<20)), []byte(`"`))
	const most = 64 // MiB; what the kernel's buffers take is far below
	for seq := uint64(1); seq <= most; seq++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := a.conn.Write(ctx, websocket.MessageText, wire.AppendData(nil, wire.Data{Topic: "orders.a", Seq: seq, Prev: seq - 1, Time: 1, Payload: payload}))
		cancel()
		if err != nil {
			return // the edge is stopped
		}
	}
	t.Errorf("the client took %d MiB while its handler stood still", most)
}
