package edge_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/edge"
	"tidings/edge/wire"
)

func TestConnected_ReadsAsTheProtocolSays(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) {
		cfg.Heartbeat = 20 * time.Second
		cfg.Limits.Subscriptions, cfg.Limits.MessageBytes = 7, 4096
	})
	got := n.dial().greeting
	id := regexp.MustCompile(`"connection":"[0-9a-f]{1,16}"`)
	if !id.MatchString(got.text) {
		t.Errorf("no connection id in %s", got.text)
	}
	want := fmt.Sprintf(`{"type":"connected","timestamp":T,"payload":{"connection":"…","node":"edge-0","protocol":"tidings.v1","epoch":"%s",`+
		`"heartbeat_ms":20000,"limits":{"subscriptions":7,"message_bytes":4096}}}`, c.epoch())
	if text := id.ReplaceAllString(got.letter(), `"connection":"…"`); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if age := time.Since(time.UnixMilli(got.Timestamp)); age < -time.Second || age > time.Minute {
		t.Errorf("its timestamp is %v old", age)
	}
}

func TestConnections_HaveIDsOfTheirOwn(t *testing.T) {
	n := newCluster(t).edge()
	seen := map[string]bool{}
	for range 50 {
		id := payload[wire.ConnectedPayload](t, n.dial().greeting).Connection
		if seen[id] {
			t.Fatalf("two connections are %s", id)
		}
		seen[id] = true
	}
}

func TestSubprotocol_IsOurs(t *testing.T) {
	n := newCluster(t).edge()
	for _, c := range []struct {
		name    string
		offered []string
		agreed  string
		status  int
	}{
		{"none", nil, "", 101},
		{"ours", []string{"tidings.v1"}, "tidings.v1", 101},
		{"ours with a token", []string{"tidings.v1", "bearer.eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}, "tidings.v1", 101},
		{"a token before ours", []string{"bearer.eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "tidings.v1"}, "tidings.v1", 101},
		{"ours among others", []string{"mqtt", "tidings.v2", "tidings.v1"}, "tidings.v1", 101},
		{"another", []string{"mqtt"}, "", 400},
		{"a token alone", []string{"bearer.eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}, "", 400},
		{"a later version", []string{"tidings.v2"}, "", 400},
		{"ours in capitals", []string{"TIDINGS.V1"}, "", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, r, err := websocket.Dial(t.Context(), "ws://"+n.host+"/ws", &websocket.DialOptions{Subprotocols: c.offered})
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %v", r.StatusCode, c.status, err)
			}
			if c.status != 101 {
				refused(t, r, c.status, wire.BadRequest)
				return
			}
			defer conn.CloseNow()
			if got := r.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ",") != c.agreed {
				t.Errorf("agreed on %q, want %q", got, c.agreed)
			}
			if _, _, err := conn.Read(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// refused checks that an HTTP response is a refusal as PROTOCOL §2 has it.
func refused(t *testing.T, r *http.Response, status int, code wire.Code) {
	t.Helper()
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	var refusal struct{ Code, Message string }
	if err := json.Unmarshal(body, &refusal); err != nil {
		t.Fatalf("%s with body %q: %v", r.Status, body, err)
	}
	if r.StatusCode != status || refusal.Code != string(code) || refusal.Message == "" {
		t.Errorf("%s with %s, want %d %s", r.Status, body, status, code)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if retry := r.Header.Get("Retry-After"); (status == 429 || status == 503) != (retry != "") {
		t.Errorf("%s with Retry-After %q", r.Status, retry)
	}
}

// ask sends a request by hand and reads the response.
func (n *node) ask(t *testing.T, request string) *http.Response {
	t.Helper()
	conn := n.tcp()
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil && r.StatusCode != 101 {
		t.Fatalf("body of %s: %v", r.Status, err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

func TestHandshake_RefusalsSayWhy(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Origins = []string{"app.example.org"} })
	with := func(old, new string) string { return strings.Replace(handshake, old, new, 1) }
	more := func(header string) string { return with("\r\n\r\n", "\r\n"+header+"\r\n\r\n") }
	for _, c := range []struct {
		name    string
		request string
		status  int
		code    wire.Code
	}{
		{"no upgrade", "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, wire.UpgradeRequired},
		{"no upgrade, POST", "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 426, wire.UpgradeRequired},
		{"to something else", with("Upgrade: websocket", "Upgrade: h2c"), 426, wire.UpgradeRequired},
		{"an old version", with("Version: 13", "Version: 8"), 426, wire.UpgradeRequired},
		{"no version", with("Sec-WebSocket-Version: 13\r\n", ""), 400, wire.BadRequest},
		{"no key", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400, wire.BadRequest},
		{"a short key", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), 400, wire.BadRequest},
		{"no Connection", with("Connection: Upgrade\r\n", ""), 400, wire.BadRequest},
		{"no Host", with("Host: localhost\r\n", ""), 400, wire.BadRequest},
		{"POST", with("GET", "POST"), 400, wire.BadRequest},
		{"a header without a colon", more("nonsense"), 400, wire.BadRequest},
		{"another origin", more("Origin: https://evil.example.org"), 403, wire.ForbiddenOrigin},
		{"another origin, lower case", more("origin: https://evil.example.org"), 403, wire.ForbiddenOrigin},
		{"a null origin", more("Origin: null"), 403, wire.ForbiddenOrigin},
		{"an origin that ends like an allowed one", more("Origin: https://evilapp.example.org"), 403, wire.ForbiddenOrigin},
		{"a header too long", more("Cookie: " + strings.Repeat("x", 9000)), 431, wire.BadRequest},
		{"thousands of headers", more(strings.TrimSuffix(strings.Repeat("A: b\r\n", 5000), "\r\n")), 431, wire.BadRequest},
		{"too many short headers", more(strings.TrimSuffix(strings.Repeat("A:b\r\n", 100), "\r\n")), 431, wire.BadRequest},
		{"an endless line", "GET /ws?" + strings.Repeat("x", 1<<20), 431, wire.BadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, n.ask(t, c.request), c.status, c.code)
		})
	}
	n.dial() // and others come in
}

func TestHandshake_AllowsOriginsBelowADomain(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Origins = []string{"*.example.org"} })
	for origin, status := range map[string]int{
		"https://app.example.org":      101,
		"https://a.b.EXAMPLE.org:8443": 101,
		"https://localhost":            101, // the page's own host
		"https://example.org":          403,
		"https://evilexample.org":      403,
		"https://app.example.org.evil": 403,
	} {
		r := n.ask(t, strings.Replace(handshake, "\r\n\r\n", "\r\nOrigin: "+origin+"\r\n\r\n", 1))
		if r.StatusCode != status {
			t.Errorf("%s: %s, want %d", origin, r.Status, status)
		}
	}
}

func TestHandshake_BehindAProxy_ComparesWithTheHostOfTheBrowser(t *testing.T) {
	c := newCluster(t)
	trusting := c.edge(func(cfg *edge.Config) { cfg.TrustedProxies = []string{"127.0.0.0/8"} })
	other := c.edge(func(cfg *edge.Config) { cfg.TrustedProxies = []string{"10.0.0.0/8"} })
	page := "\r\nOrigin: https://app.example.org"
	for _, h := range []struct {
		headers        string
		trusted, plain int
	}{
		{page, 403, 403},
		{page + "\r\nX-Forwarded-Host: app.example.org", 101, 403},
		{page + "\r\nForwarded: for=198.51.100.1;host=app.example.org", 101, 403},
		{page + "\r\nX-Forwarded-Host: other.example.org", 403, 403},
		{"\r\nOrigin: https://localhost" + page, 403, 403},
	} {
		for n, want := range map[*node]int{trusting: h.trusted, other: h.plain} {
			request := strings.Replace(handshake, "\r\n\r\n", h.headers+"\r\n\r\n", 1)
			events := "GET /last?topic=a.b HTTP/1.1\r\nHost: localhost\r\nConnection: close" + h.headers + "\r\n\r\n"
			if r := n.ask(t, request); r.StatusCode != want {
				t.Errorf("%q: %s, want %d", h.headers, r.Status, want)
			} else if want == 403 {
				refused(t, r, 403, wire.ForbiddenOrigin)
			}
			if r := n.ask(t, events); (r.StatusCode == 200) != (want == 101) && strings.Count(h.headers, "Origin") == 1 {
				t.Errorf("%q: /last: %s", h.headers, r.Status)
			}
		}
	}
	body, _ := io.ReadAll(other.ask(t, strings.Replace(handshake, "\r\n\r\n", page+"\r\n\r\n", 1)).Body)
	for _, setting := range []string{"origins", "Host header", "X-Forwarded-Host", "trusted_proxies"} {
		if !strings.Contains(string(body), setting) {
			t.Errorf("the refusal does not say %s: %s", setting, body)
		}
	}
}

func TestHandshake_RefusalOfAVersion_NamesOurs(t *testing.T) {
	n := newCluster(t).edge()
	r := n.ask(t, strings.Replace(handshake, "Version: 13", "Version: 25", 1))
	if got := r.Header.Get("Sec-WebSocket-Version"); got != "13" { // RFC 6455 §4.4
		t.Errorf("%s with Sec-WebSocket-Version %q", r.Status, got)
	}
}

func TestHandshake_GoodOnes(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Origins = []string{"app.example.org"} })
	more := func(header string) string { return strings.Replace(handshake, "\r\n\r\n", "\r\n"+header+"\r\n\r\n", 1) }
	for name, request := range map[string]string{
		"as a browser":       handshake,
		"with a query":       strings.Replace(handshake, "/ws ", "/ws?access_token=abc ", 1),
		"in lower case":      strings.NewReplacer("Connection: Upgrade", "connection: upgrade", "Upgrade: websocket", "upgrade: WebSocket", "Sec-WebSocket-Version", "sec-websocket-version").Replace(handshake),
		"by a proxy":         strings.Replace(handshake, "Connection: Upgrade", "Connection: keep-alive, Upgrade", 1),
		"of an allowed page": more("Origin: https://app.example.org"),
		"of our own page":    more("Origin: http://localhost"),
		"with many headers":  more(strings.TrimSuffix(strings.Repeat("X-Some: thing\r\n", 40), "\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			p := n.peerOn(n.tcp())
			p.send([]byte(request))
			r := p.switched()
			if got := r.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 §1.3
				t.Errorf("Sec-WebSocket-Accept %q", got)
			}
			p.expectType("connected")
		})
	}
}

func TestHandshake_SplitAtEveryByte(t *testing.T) {
	n := newCluster(t).edge()
	for i := 1; i < len(handshake); i++ {
		p := n.peerOn(n.tcp())
		before := n.value("tidings_edge_received_bytes_total")
		p.send([]byte(handshake[:i]))
		eventually(t, "the edge reads the first part", func() bool { return n.value("tidings_edge_received_bytes_total") == before+float64(i) })
		p.send([]byte(handshake[i:]))
		p.switched()
		p.expectType("connected")
		p.conn.Close()
	}
}

func TestHandshake_WithTheFirstRequestBehindIt(t *testing.T) {
	n := newCluster(t).edge()
	p := n.peerOn(n.tcp())
	p.send(append([]byte(handshake), masked(true, 1, []byte(`{"type":"heartbeat","id":9}`))...))
	p.switched()
	p.expectType("connected")
	if m := p.expectType("ack"); m.ID != 9 {
		t.Errorf("got %s", m.text)
	}
}

func TestHandshake_ThatTrickles_TimesOut(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.HandshakeTimeout = 300 * time.Millisecond })
	conn := n.tcp()
	start := time.Now()
	stop := make(chan struct{})
	trickled := make(chan struct{})
	go func() {
		defer close(trickled)
		for i := range len(handshake) {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := conn.Write([]byte{handshake[i]}); err != nil {
				return
			}
		}
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	close(stop)
	<-trickled
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	refused(t, r, 408, wire.BadRequest)
	if took := time.Since(start); took < 250*time.Millisecond || took > 5*time.Second {
		t.Errorf("it was given %v", took)
	}
	if n.value("tidings_edge_handshakes_total", "result", "timeout") != 1 {
		t.Error("it was not counted")
	}
}

func TestConnection_ThatSaysNothing_TimesOut(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.HandshakeTimeout = 200 * time.Millisecond })
	answer, err := io.ReadAll(n.tcp())
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestFullEdge_SaysWhenToComeBack(t *testing.T) {
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Limits.Connections = 2 })
	first := n.dial()
	n.dial()
	for range 3 {
		refused(t, n.ask(t, handshake), 503, wire.Unavailable)
	}
	if got := n.value("tidings_edge_handshakes_total", "result", "full"); got != 3 {
		t.Errorf("%v were counted", got)
	}
	first.conn.CloseNow()
	eventually(t, "there is room again", func() bool { return n.value("tidings_edge_connections") == 1 })
	n.dial()
}

func TestPages_ShareThePort(t *testing.T) {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "page %s", r.URL.Path) })
	pages.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the body: %v", err)
		}
		_, _ = w.Write(body)
	})
	n := newCluster(t).edge(func(cfg *edge.Config) { cfg.Pages = pages })
	conn := n.tcp()
	in := bufio.NewReader(conn)
	expect := func(want string) {
		t.Helper()
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || string(body) != want {
			t.Fatalf("%s with %q, %v; want %q", r.Status, body, err, want)
		}
	}
	// The second request comes with the first, the third later on the same connection.
	fmt.Fprint(conn, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
	expect("page /a")
	expect("page /b")
	fmt.Fprint(conn, "GET /c HTTP/1.1\r\nHost: localhost\r\n\r\n")
	expect("page /c")

	// A part of the body was read with the request already, the rest was not.
	body := strings.Repeat("0123456789", 20_000)
	for _, ahead := range []int{0, 1, 5000, 100_000, len(body)} {
		conn := n.tcp()
		in = bufio.NewReader(conn)
		fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:ahead])
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, body[ahead:])
			sent <- err
		}()
		expect(body)
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if n.dial(); n.value("tidings_edge_handshakes_total", "result", "http") != 6 {
		t.Errorf("%v requests were counted as pages", n.value("tidings_edge_handshakes_total", "result", "http"))
	}
}

func TestWithoutPages_ThereIsNothing(t *testing.T) {
	n := newCluster(t).edge()
	r, err := http.Get("http://" + n.host + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	r.Body.Close()
	if r.StatusCode != 404 {
		t.Errorf("%s", r.Status)
	}
}
