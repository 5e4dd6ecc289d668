package edge_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"

	"tidings/edge"
	"tidings/edge/wire"
)

// An edge as an attacker sees it: from outside, by raw sockets, with what PROTOCOL says and no more. Each test logs what was
// tried and what it cost. What is tried elsewhere:
//
//   - keys and algorithms, a JWKS that leads elsewhere, redirects, rotation: auth/algorithm_test.go, auth/remote_test.go
//   - pages of other sites, behind proxies too: origin_test.go, TestTokens_OverHTTP
//   - floods of requests, subscribes, pings, refreshes, bad requests: limit_test.go; of several, beside others:
//     TestFlood_OfSome_LeavesOthersTheirLatency
//   - half-made connections by the thousand: TestAttack_HalfMadeConnections
//   - frames that are none, too big, or of too many fragments: frames_test.go, fuzz_test.go

// TestAttack_ForgedTokens shows tokens that are signed by nobody, by the wrong one, or for another time.
func TestAttack_ForgedTokens(t *testing.T) {
	var fetched atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"YXR0YWNrZXI"}]}`))
	}))
	defer elsewhere.Close()
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes)

	sign := func(method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
		token := jwt.NewWithClaims(method, claims)
		for name, value := range header {
			token.Header[name] = value
		}
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	all := jwt.MapClaims{"sub": "eve", "tidings": map[string]any{"subscribe": []string{">"}, "act": []string{">"}}}
	at := func(claim string, when time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"sub": "eve", claim: time.Now().Add(when).Unix(), "tidings": all["tidings"]}
	}
	good := i.token(grants{sub: "ada", subscribe: []string{"metrics.a"}})
	parts := strings.Split(good, ".")
	none := sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, all)
	theirs := []byte("attacker")
	forged := map[string]string{
		"alg none":                         none,
		"alg none with a signature":        none + parts[2],
		"alg None":                         "eyJhbGciOiJOb25lIn0." + strings.Split(none, ".")[1] + ".",
		"no signature":                     parts[0] + "." + parts[1] + ".",
		"other claims, the same signature": parts[0] + "." + strings.Split(none, ".")[1] + "." + parts[2],
		"an empty key":                     sign(jwt.SigningMethodHS256, []byte{}, nil, all),
		"a key of their own":               sign(jwt.SigningMethodHS256, theirs, nil, all),
		"an algorithm not allowed":         sign(jwt.SigningMethodHS512, []byte(secret), nil, all)[:40] + "." + parts[1] + "." + parts[2],
		"kid: a path":                      sign(jwt.SigningMethodHS256, []byte{}, map[string]any{"kid": "../../../../dev/null"}, all),
		"kid: SQL":                         sign(jwt.SigningMethodHS256, theirs, map[string]any{"kid": "' UNION SELECT 'attacker' --"}, all),
		"kid: a URL":                       sign(jwt.SigningMethodHS256, theirs, map[string]any{"kid": elsewhere.URL}, all),
		"kid: no string":                   sign(jwt.SigningMethodHS256, theirs, map[string]any{"kid": []int{1}}, all),
		"jku":                              sign(jwt.SigningMethodHS256, theirs, map[string]any{"jku": elsewhere.URL, "kid": "a"}, all),
		"x5u":                              sign(jwt.SigningMethodHS256, theirs, map[string]any{"x5u": elsewhere.URL}, all),
		"jwk":                              sign(jwt.SigningMethodHS256, theirs, map[string]any{"jwk": map[string]string{"kty": "oct", "k": "YXR0YWNrZXI"}}, all),
		"crit":                             sign(jwt.SigningMethodHS256, theirs, map[string]any{"crit": []string{"b64"}, "b64": false}, all),
		"iss of their own":                 sign(jwt.SigningMethodHS256, theirs, nil, jwt.MapClaims{"iss": elsewhere.URL, "tidings": all["tidings"]}),
		"expired":                          sign(jwt.SigningMethodHS256, []byte(secret), nil, at("exp", -time.Hour)),
		"not yet valid":                    sign(jwt.SigningMethodHS256, []byte(secret), nil, at("nbf", time.Hour)),
		"no JWT":                           "x",
		"dots":                             "...",
		"5 KB of it":                       strings.Repeat("A", 5<<10) + ".A.A",
	}
	began := time.Now()
	for name, token := range forged {
		t.Run(name, func(t *testing.T) {
			refused(t, n.ask(t, request("/ws", "Authorization: Bearer "+token)), 401, wire.Unauthorized)
		})
	}
	client := n.dial(bearing(good))
	client.say(`{"type":"refresh","id":1,"token":"%s"}`, none)
	if m := client.next(); m.Type != "error" {
		t.Errorf("a refresh with alg none got %s", m.text)
	}
	if fetched.Load() > 0 {
		t.Errorf("the edge fetched keys from where a token said, %d times", fetched.Load())
	}
	t.Logf("%d forged tokens refused within %v, none of which had the edge fetch anything", len(forged), time.Since(began))
}

// hostile is what a client may try in place of a topic, or of a part of a subject.
var hostile = []string{
	"metrics..a", ".metrics", "metrics.", "metrics.>.a", "metrics.a>", "metrics.*a", "metrics. a", "metrics.a ", "metrics.\ta",
	"metrics.a\r\nPUB tidings.pub.metrics.b 2\r\n{}", "metrics.a\nSUB > 1", "metrics.a\x00", "metrics.ä", "metrics.\u202ea", "",
	"$JS.API.STREAM.PURGE.TIDINGS", "$SYS.>", "_INBOX_tidings.>!", "$SRV.PING", "metrics.a/../../b", "metrics.%2e%2e", "metrics.$1",
	strings.Repeat("a.", 20) + "a", strings.Repeat("a", 300),
}

// TestAttack_Subjects tries to get NATS to see a subject that is not a topic's: by subscribe, SSE, last, and actions.
func TestAttack_Subjects(t *testing.T) {
	i, c := newIssuer(t), newCluster(t)
	n := c.edge(i.takes, acts, func(cfg *edge.Config) {
		cfg.TokenQuery, cfg.Limits.BadRequests, cfg.Limits.MessagesPerSecond = true, 10_000, 10_000
	})
	token := i.token(grants{sub: "eve", subscribe: []string{">"}, act: []string{"*.>"}})
	nc := c.line()
	heard, err := nc.SubscribeSync("tidings.act.>")
	if err != nil {
		t.Fatal(err)
	}
	published, err := nc.SubscribeSync("tidings.pub.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	client, tries := n.dial(bearing(token)), 0
	refusedBy := func(what string, body map[string]any) {
		t.Helper()
		tries++
		body["id"] = tries
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		client.say("%s", text)
		if m := client.next(); m.Type != "error" || m.ID != uint64(tries) {
			t.Errorf("%s got %s", what, m.text)
		}
	}
	for _, word := range hostile {
		refusedBy(fmt.Sprintf("subscribing to %q", word), map[string]any{"type": "subscribe", "topics": []string{word}})
		refusedBy(fmt.Sprintf("acting on host %q", word), map[string]any{"type": "action", "host": word, "container": "api", "action": "restart", "timeout_ms": 1000})
		refusedBy(fmt.Sprintf("acting by %q", word), map[string]any{"type": "action", "host": "web-1", "container": "api", "action": word, "timeout_ms": 1000})
		for _, path := range []string{"/last", "/events"} {
			tries++
			target := path + "?topic=" + url.QueryEscape(word) + "&access_token=" + token
			r := n.ask(t, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target))
			if r.StatusCode != http.StatusBadRequest {
				t.Errorf("%s of %q: %s", path, word, r.Status)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []*nats.Subscription{heard, published} {
		if m, err := sub.NextMsg(0); err == nil && m.Subject != "tidings.act.web-1" {
			t.Errorf("NATS saw %s", m.Subject)
		}
	}
	client.subscribe("metrics.a") // it is served as before
	t.Logf("%d attempts refused, NATS saw none of them", tries)
}

// hostileContainers is what a client may try in place of a container: it would be a path, a query or an option if it got into what
// an engine is asked for, and another subject if it got into one.
var hostileContainers = []string{
	">", "*", ".", "..", "../", "../../images/json", "api/../db", "..%2fdb", "%2e%2e%2fdb", "api%00", "%2e", "/api", "api/", `..\db`,
	"api?force=1", "?force=1", "api&v=1", "api#x", "api;x", "api json", "api/json?all=1 HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n", "\t", " ", " api", "api\u00a0",
	"-f", "--all", "_INBOX.x", "_INBOX", "$JS", "$(id)", "`id`", "api\u212a", "\u0130", "\uff0e\uff0e\uff0fdb", "api\u200b", "\ufeffapi", "{}", `"`,
	"", "*.>", "api.>", "_INBOX_tidings.>!", "$JS.API.STREAM.PURGE.TIDINGS", "api\r\nPUB tidings.pub.metrics.b 2\r\n{}", "api\x00", "ap\u202ei",
	strings.Repeat("a", 256), strings.Repeat("../", 1000),
}

// TestAttack_Containers tries to get something else than a container's name to a publisher, which looks up what it is told.
func TestAttack_Containers(t *testing.T) {
	i, c := newIssuer(t), newCluster(t)
	h := c.host("web-1")
	n := c.edge(i.takes, acts, func(cfg *edge.Config) { cfg.Limits.BadRequests, cfg.Limits.MessagesPerSecond = 10_000, 10_000 })
	nc := c.line()
	heard, err := nc.SubscribeSync("tidings.act.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	client := n.dial(bearing(i.token(grants{sub: "eve", subscribe: []string{">"}, act: []string{">"}})))
	tries := uint64(0)
	for _, word := range hostileContainers {
		tries++
		text, err := json.Marshal(map[string]any{"type": "action", "id": tries, "host": "web-1", "container": word, "action": "kill", "timeout_ms": 1000})
		if err != nil {
			t.Fatal(err)
		}
		client.say("%s", text)
		p := payload[wire.ErrorPayload](t, client.fails(tries, wire.BadRequest))
		if !strings.HasPrefix(p.Message, "container: ") || len(word) > 2 && strings.Contains(p.Message, word) {
			t.Errorf("%q is told %q", word, p.Message)
		}
	}
	client.act(tries+1, "web-1", "api", "restart") // behind them all
	client.acked(tries + 1)
	if all := h.all(); len(all) != 1 || all[0].Container != "api" {
		t.Errorf("the publisher was asked for %+v", all)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := heard.Pending(); err != nil || n != 1 {
		t.Errorf("NATS saw %d actions, %v", n, err)
	}
	t.Logf("%d attempts refused, NATS saw none of them", tries)
}

// TestAttack_FramesThatTrickle sends a frame so slowly that it never ends. It can answer no ping meanwhile.
func TestAttack_FramesThatTrickle(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Heartbeat = 300 * time.Millisecond })
	p := n.peer(0)
	frame := masked(true, ws.OpText, []byte(`{"type":"heartbeat","id":1,"note":"`+strings.Repeat("x", 1<<15)+`"}`))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, b := range frame {
			if _, err := p.conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // the attacker's own pace
		}
	}()
	began := time.Now()
	for {
		f, err := p.tryFrame()
		if err != nil || f.Header.OpCode == ws.OpClose {
			break
		}
	}
	took := time.Since(began)
	p.conn.Close()
	<-ended
	t.Logf("a frame of %d bytes at 50 bytes a second was given up after %v", len(frame), took)
	if took > 5*time.Second {
		t.Errorf("it was let trickle for %v", took)
	}
}

// TestAttack_ResumeAsAnAmplifier asks again and again for all that is retained.
func TestAttack_ResumeAsAnAmplifier(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) {
		cfg.Limits.Subscriptions, cfg.Limits.SubscribesPerSecond = 4, 1
	})
	c.burst("alerts.a", 0, 1000)
	p := n.peer(0)
	const asks = 60
	asked := 0
	for id := 1; id <= asks; id += 2 {
		first := fmt.Sprintf(`{"type":"subscribe","id":%d,"topics":[{"topic":"alerts.a","since":{"epoch":"%s","seq":1}}]}`, id, c.epoch())
		second := fmt.Sprintf(`{"type":"unsubscribe","id":%d,"topics":["alerts.a"]}`, id+1)
		asked += len(first) + len(second)
		p.say("%s", first)
		p.say("%s", second)
	}
	brought, answers, refusals := 0, 0, 0
	for answers < asks {
		m := p.message()
		brought += len(m.text)
		if m.Type == "ack" || m.Type == "error" {
			answers++
		}
		if m.Type == "error" {
			refusals++
		}
	}
	t.Logf("%d bytes of requests brought %d bytes; %d of %d resumes were refused", asked, brought, refusals, asks/2)
	if most := 12 * 1000 * 200; brought > most || brought < 1000*50 || refusals < asks/4 {
		t.Errorf("%d bytes came, %d requests were refused", brought, refusals)
	}
}

// TestAttack_DecompressionBombs sends messages that are small as they travel.
func TestAttack_DecompressionBombs(t *testing.T) {
	const bombs, size = 32, 16 << 20
	var small bytes.Buffer
	w, err := flate.NewWriter(&small, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, `{"type":"heartbeat","id":1,"note":"%s"}`, strings.Repeat("x", size))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	bomb := ws.NewFrame(ws.OpText, true, bytes.TrimSuffix(small.Bytes(), []byte{0, 0, 0xff, 0xff})) // RFC 7692 §7.2.1
	bomb.Header.Rsv = ws.Rsv(true, false, false)
	sent := ws.MustCompileFrame(ws.MaskFrameWith(bomb, [4]byte{1, 2, 3, 4}))

	n := newCluster(t).edge()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range bombs {
		p := n.peerOn(n.tcp())
		p.send([]byte(request("/ws", "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover")))
		if got := p.switched().Header.Get("Sec-WebSocket-Extensions"); got == "" {
			t.Fatal("the edge does not compress")
		}
		p.expectType("connected")
		p.send(sent)
		p.closed(wire.CloseTooBig)
	}
	took := time.Since(began) / bombs
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / bombs
	t.Logf("a bomb of %d MiB travels as %d bytes; it is refused within %v, for which %d bytes were allocated, both ends together",
		size>>20, len(sent), took, each)
	if each > 1<<20 {
		t.Errorf("each has %d bytes allocated", each)
	}
}
