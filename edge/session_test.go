package edge_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidings/edge"
	"tidings/edge/auth"
	"tidings/edge/wire"
)

// unwarned edges tell nobody that a token is about to expire.
func unwarned(cfg *edge.Config) { cfg.ExpiryWarning = -1 }

func (c *client) refresh(token string) {
	c.t.Helper()
	c.id++
	c.say(`{"type":"refresh","id":%d,"token":"%s"}`, c.id, token)
}

// fails expects an error as the next message.
func (c *client) fails(id uint64, code wire.Code) message {
	c.t.Helper()
	m := c.next()
	if p := payload[wire.ErrorPayload](c.t, m); m.Type != "error" || m.ID != id || p.Code != code || p.Message == "" {
		c.t.Fatalf("got    %s\nwanted the error %s of %d", m.text, code, id)
	}
	return m
}

func TestToken_ThatExpires_EndsItsConnection(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, unwarned)
	ends := soon(time.Second)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: ends})))
	lasting := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: ends.Add(time.Hour)})))
	client.subscribe("metrics.a")
	client.data(at("metrics.a", c.publish("metrics.a", `1`)))
	client.closed(wire.CloseTokenExpired)
	if late := time.Since(ends); late < 0 || late > 5*time.Second {
		t.Errorf("it was closed %v after the token expired", late)
	}
	if got := n.value("tidings_edge_closes_total", "code", "4401"); got != 1 {
		t.Errorf("%v were counted", got)
	}
	lasting.quiet()
}

func TestToken_AboutToExpire_IsToldInTime(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, func(cfg *edge.Config) {
		cfg.ExpiryWarning, cfg.DrainWindow, cfg.DrainGrace = time.Minute, time.Minute, time.Minute
	})
	ends := soon(2 * time.Second)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: ends})))
	client.subscribe("metrics.a")
	m := client.next()
	left := time.Until(ends)
	p := payload[wire.GoingAwayPayload](t, m)
	if m.Type != "going_away" || p.Reason != "token_expiring" || p.ReconnectMS[1] > p.DeadlineMS || p.ReconnectMS[0] != 0 {
		t.Errorf("got %s", m.text)
	}
	if told := time.Duration(p.DeadlineMS) * time.Millisecond; told > time.Second || told < left-100*time.Millisecond {
		t.Errorf("%v are left, but it said %v", left, told)
	}
	client.data(at("metrics.a", c.publish("metrics.a", `1`))) // it goes on delivering
	client.closed(wire.CloseTokenExpired)
	n.end() // the others need not be waited for
}

// Clocks differ, so a token is taken for some time after it has expired. Its connection is not closed before that, or its
// client would come back with the same token, again and again.
func TestToken_WithinTheLeeway_IsGivenThatTime(t *testing.T) {
	i := newIssuerWith(t, auth.Config{Leeway: leeway})
	n := newCluster(t).edge(i.takes)
	expired := soon(0).Add(-time.Second)
	token := i.token(grants{sub: "ada", expires: expired})
	client := n.dial(bearing(token))
	client.quiet()
	client.closed(wire.CloseTokenExpired)
	if late := time.Since(expired); late < leeway || late > leeway+5*time.Second {
		t.Errorf("it was closed %v after the token expired", late)
	}
	refused(t, n.ask(t, request("/ws", "Authorization: Bearer "+token)), 401, wire.Unauthorized)
}

func TestRefresh_KeepsTheConnection(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, unwarned)
	ends := soon(time.Second)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: ends})))
	client.subscribe("orders.a")
	client.refresh(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: ends.Add(time.Hour)}))
	client.expect(`{"type":"ack","id":2,"timestamp":T}`)
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	time.Sleep(time.Until(ends) + 200*time.Millisecond) // its first token is over
	client.data(at("orders.a", c.publish("orders.a", `2`)))
	client.quiet()
	// To a token that ends sooner, for there may be reasons.
	client.refresh(i.token(grants{sub: "ada", subscribe: []string{">"}, expires: soon(500 * time.Millisecond)}))
	client.acked(client.id)
	client.closed(wire.CloseTokenExpired)
}

func TestRefresh_ReplacesTheGrantsAtOnce(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{"metrics.>", "orders.>"}})))
	client.subscribe("metrics.a", "orders.*", "metrics.*")
	client.refresh(i.token(grants{sub: "ada", subscribe: []string{"metrics.a", "host.>"}}))
	client.acked(client.id)
	ended := map[string]bool{}
	for range 2 {
		m := client.fails(0, wire.Forbidden)
		if p := payload[wire.ErrorPayload](t, m); !strings.Contains(p.Message, m.Topic) {
			t.Errorf("%s does not name its topic", m.text)
		}
		ended[m.Topic] = true
	}
	if !ended["orders.*"] || !ended["metrics.*"] {
		t.Errorf("these were ended: %v", ended)
	}
	if got := n.value("tidings_edge_subscriptions"); got != 1 {
		t.Errorf("%v subscriptions are held", got)
	}
	c.publish("orders.a", `1`)
	c.publish("metrics.b", `1`)
	client.data(at("metrics.a", c.publish("metrics.a", `1`)))
	client.quiet()
	client.id++
	client.say(`{"type":"subscribe","id":%d,"topics":["orders.a"]}`, client.id)
	client.fails(client.id, wire.Forbidden)
	client.subscribe("host.a")
	client.data(at("host.a", c.publish("host.a", `1`)))
}

// The subscribe waits for NATS, the refresh for its verifier; what is behind them is judged by the new token.
func TestRefresh_KeepsItsPlaceAmongTheRequests(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes)
	p := n.peerOn(n.tcp())
	p.send([]byte(request("/ws", "Authorization: Bearer "+i.token(grants{sub: "ada", subscribe: []string{"orders.>"}}))))
	p.switched()
	p.expectType("connected")
	held := i.held(i.token(grants{sub: "ada", subscribe: []string{"host.>"}}))
	var all []byte
	for _, text := range []string{
		`{"type":"subscribe","id":1,"topics":["orders.a"]}`,
		`{"type":"subscribe","id":2,"topics":["host.a"]}`,
		`{"type":"refresh","id":3,"token":"` + held + `"}`,
		`{"type":"subscribe","id":4,"topics":["orders.b"]}`,
		`{"type":"subscribe","id":5,"topics":["host.a"]}`,
		`{"type":"heartbeat","id":6}`,
	} {
		all = append(all, masked(true, 1, []byte(text))...)
	}
	p.send(all)
	eventually(t, "it is being verified", func() bool { return i.waits() == 1 })
	i.release(held)
	for _, want := range []string{"ack 1", "error 2", "ack 3", "error 0", "error 4", "ack 5", "ack 6"} {
		m := p.message()
		if got := fmt.Sprintf("%s %d", m.Type, m.ID); got != want {
			t.Fatalf("got %s, want %s", m.text, want)
		}
	}
}

func TestRefresh_WithATokenThatIsNoGood_TakesNothingAway(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{">"}})))
	client.subscribe("orders.a")
	client.refresh(i.token(grants{sub: "ada", subscribe: []string{"host.>"}, expires: time.Now().Add(-time.Hour)}))
	client.fails(client.id, wire.TokenExpired)
	client.refresh(i.token(grants{sub: "bob", subscribe: []string{">"}}))
	client.fails(client.id, wire.Unauthorized)
	client.refresh(i.failing(auth.ErrUnavailable))
	if m := client.fails(client.id, wire.Unavailable); payload[wire.ErrorPayload](t, m).RetryAfterMS == 0 {
		t.Errorf("%s does not say when to try again", m.text)
	}
	client.data(at("orders.a", c.publish("orders.a", `1`)))
	// One that is not genuine is not borne.
	client.refresh("no.token.atall")
	client.fails(client.id, wire.Unauthorized)
	client.closed(wire.CloseTokenInvalid)
}

func TestEventStream_EndsWithItsToken(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, unwarned)
	ends := soon(time.Second)
	stream := n.listen(t, "topic=orders.*", "Authorization", "Bearer "+i.token(grants{sub: "ada", subscribe: []string{"orders.>"}, expires: ends}))
	stream.acked()
	stream.data(c.epoch(), at("orders.a", c.publish("orders.a", `1`)))
	for {
		select {
		case _, more := <-stream.lines:
			if more {
				continue
			}
			if late := time.Since(ends); late < 0 || late > 5*time.Second {
				t.Errorf("it ended %v after its token", late)
			}
			return
		case <-time.After(patience):
			t.Fatal("it did not end")
		}
	}
}

func TestVerification_HoldsUpNobodyElse(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, func(cfg *edge.Config) { cfg.Loops = 1 })
	good := i.token(grants{sub: "ada", subscribe: []string{">"}})
	held := i.held(good)
	slow := n.peerOn(n.tcp())
	// What comes behind the request is kept, more than one read of it.
	behind := masked(true, 1, fmt.Appendf(nil, `{"type":"heartbeat","id":1,"pad":"%s"}`, strings.Repeat("x", 40_000)))
	behind = append(behind, behind...)
	slow.send(append([]byte(request("/ws", "Authorization: Bearer "+held)), behind...))
	eventually(t, "it is being verified", func() bool { return i.waits() == 1 })
	other := n.dial(bearing(good))
	other.subscribe("orders.a")
	other.data(at("orders.a", c.publish("orders.a", `1`)))
	slow.send(masked(true, 1, []byte(`{"type":"heartbeat","id":2}`)))
	i.release(held)
	slow.switched()
	slow.expectType("connected")
	for _, id := range []uint64{1, 1, 2} {
		if m := slow.expectType("ack"); m.ID != id {
			t.Fatalf("got %s, want the ack of %d", m.text, id)
		}
	}
}

// A client hangs up while its token is being verified, and another gets its place.
func TestVerification_ForWhoHungUp_ReachesNobody(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.Loops, cfg.HandshakeTimeout = 1, time.Minute })
	held := i.held(i.token(grants{sub: "ada", subscribe: []string{">"}}))
	gone := n.tcp()
	fmt.Fprint(gone, request("/ws", "Authorization: Bearer "+held))
	eventually(t, "it is being verified", func() bool { return i.waits() == 1 })
	gone.Close()
	eventually(t, "the edge notices", func() bool { return n.value("tidings_edge_handshakes_total", "result", "aborted") == 1 })
	eventually(t, "it is not verified any more", func() bool { return i.waits() == 0 })
	next := n.peerOn(n.tcp())
	half := []byte(request("/ws", "Authorization: Bearer "+i.token(grants{sub: "bob"})))
	next.send(half[:20])
	i.release(held)
	client := n.dial(bearing(i.token(grants{sub: "eve"}))) // behind whatever came of it
	client.quiet()
	next.send(half[20:])
	next.switched()
	next.expectType("connected")
	next.say(`{"type":"subscribe","id":1,"topics":["orders.a"]}`)
	if m := next.expectType("error"); payload[wire.ErrorPayload](t, m).Code != wire.Forbidden {
		t.Errorf("got %s", m.text)
	}
	if got := n.value("tidings_edge_handshakes_total", "result", "ok"); got != 2 {
		t.Errorf("%v handshakes succeeded", got)
	}
}

func TestVerification_ThatTakesTooLong_IsGivenUp(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.HandshakeTimeout = 300 * time.Millisecond })
	for _, token := range []string{i.held(i.token(grants{sub: "ada"})), i.failing(auth.ErrUnavailable)} {
		refused(t, n.ask(t, request("/ws", "Authorization: Bearer "+token)), 503, wire.Unavailable)
		r, err := http.NewRequest("GET", "http://"+n.host+"/last?topic=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		client := &http.Client{Transport: &http.Transport{}}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, response, 503, wire.Unavailable)
		client.CloseIdleConnections()
	}
	eventually(t, "all are counted", func() bool { return n.value("tidings_edge_tokens_total", "result", "unavailable") == 4 })
	if got := n.value("tidings_edge_handshakes_total", "result", "no_keys"); got != 2 {
		t.Errorf("%v handshakes are counted", got)
	}
}

// A client that says more than its token, and that is no good, is heard out: bytes that nobody read would make the close a reset,
// which on some systems takes the answer with it.
func TestVerification_ThatFails_HearsWhatCameBehind(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.Loops = 1 })
	other := n.dial(bearing(i.token(grants{sub: "ada"})))
	other.quiet()
	before := n.value("tidings_edge_received_bytes_total")
	held := i.held("no.token.atall")
	all := append([]byte(request("/ws", "Authorization: Bearer "+held)), make([]byte, 200<<10)...)
	conn := n.tcp()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(all)
		sent <- err
	}()
	eventually(t, "it is being verified", func() bool { return i.waits() == 1 })
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	other.quiet() // turns, in which the edge finds that there is more than it may look at
	other.conn.CloseNow()
	eventually(t, "the other has gone", func() bool { return n.value("tidings_edge_connections") == 0 })
	waited := n.value("tidings_edge_received_bytes_total")
	i.release(held)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, r, 401, wire.Unauthorized)
	eventually(t, "all of it is heard", func() bool { return n.value("tidings_edge_received_bytes_total") >= before+float64(len(all)) })
	if waited >= before+float64(len(all)) {
		t.Error("it was heard while its token was being verified")
	}
}

func TestVerification_DuringADrain_IsToldSo(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.DrainGrace, cfg.DrainWindow = time.Minute, time.Second })
	held := i.held(i.token(grants{sub: "ada"}))
	other := n.dial(bearing(i.token(grants{sub: "bob"})))
	waiting := n.tcp()
	fmt.Fprint(waiting, request("/ws", "Authorization: Bearer "+held))
	eventually(t, "it is being verified", func() bool { return i.waits() == 1 })
	n.end()
	if m := other.next(); m.Type != "going_away" {
		t.Fatalf("got %s", m.text)
	}
	i.release(held)
	r, err := http.ReadResponse(bufio.NewReader(waiting), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, r, 503, wire.Unavailable)
	other.conn.CloseNow()
	n.stop()
}

func TestVerifications_AtOnceAreBounded(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes)
	held := i.held(i.token(grants{sub: "ada"}))
	const many = 100
	peers := make([]*peer, many)
	for k := range peers {
		peers[k] = n.peerOn(n.tcp())
		peers[k].send([]byte(request("/ws", "Authorization: Bearer "+held)))
	}
	const most = 16
	eventually(t, "as many as may are being verified", func() bool { return i.waits() == most })
	received := float64(many * len(request("/ws", "Authorization: Bearer "+held)))
	eventually(t, "all have asked", func() bool { return n.value("tidings_edge_received_bytes_total") == received })
	if got := i.waits(); got != most {
		t.Errorf("%d are verified at once", got)
	}
	i.release(held)
	for _, p := range peers {
		p.switched()
		p.expectType("connected")
	}
}

func TestOpenEdge_TakesNoTokens(t *testing.T) {
	n := newCluster(t).edge()
	client := n.dial(bearing("whatever"))
	client.subscribe(">")
	client.refresh("whatever")
	client.fails(client.id, wire.Disabled)
	client.quiet()
}
