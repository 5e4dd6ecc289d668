package edge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/edge"
	"tidings/edge/wire"
)

// bearing dials with a token in the header.
func bearing(token string) func(*websocket.DialOptions) {
	return func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Authorization": {"Bearer " + token}} }
}

// request is the handshake with more header lines, to a path.
func request(target string, headers ...string) string {
	r := strings.Replace(handshake, "/ws ", target+" ", 1)
	return strings.TrimSuffix(r, "\r\n") + strings.Join(append(headers, "\r\n"), "\r\n")
}

func TestToken_IsTakenWhereItMayTravel(t *testing.T) {
	i := newIssuer(t)
	good := i.token(grants{sub: "ada", subscribe: []string{">"}})
	c := newCluster(t)
	strict := c.edge(i.takes)
	lax := c.edge(i.takes, func(cfg *edge.Config) {
		cfg.TokenCookie, cfg.TokenQuery, cfg.Origins = "session", true, []string{"app.example.org", "*.example.net", "*"}
	})
	const bad = "Authorization: Bearer not.a.token"
	for _, c := range []struct {
		name    string
		request string
		strict  int // status of an edge that takes neither cookies nor queries, nor other pages
		lax     int // and of one that does
	}{
		{"nowhere", request("/ws"), 401, 401},
		{"header", request("/ws", "Authorization: Bearer "+good), 101, 101},
		{"header in other letters", request("/ws", "authorization: bearer "+good), 101, 101},
		{"header of another scheme", request("/ws", "Authorization: Basic "+good), 401, 401},
		{"header, invalid", request("/ws", bad), 401, 401},
		{"subprotocol", request("/ws", "Sec-WebSocket-Protocol: bearer."+good), 101, 101},
		{"subprotocol in one line", strings.Replace(handshake, "tidings.v1", "bearer."+good+", tidings.v1", 1), 101, 101},
		{"subprotocol, invalid", request("/ws", "Sec-WebSocket-Protocol: bearer.not.a.token"), 401, 401},
		{"cookie of the own page", request("/ws", "Cookie: a=b; session="+good, "Origin: https://localhost"), 401, 101},
		{"cookie of a named page", request("/ws", "Cookie: session="+good, "Origin: https://app.example.org"), 403, 101},
		{"cookie of a page below a named domain", request("/ws", "Cookie: session="+good, "Origin: https://a.example.net"), 403, 101},
		{"cookie of a page that only * lets in", request("/ws", "Cookie: session="+good, "Origin: https://evil.example.com"), 403, 403},
		{"header of a page that only * lets in", request("/ws", "Authorization: Bearer "+good, "Origin: https://evil.example.com"), 403, 101},
		{"cookie of a page without a name", request("/ws", "Cookie: session="+good, "Origin: null"), 403, 403},
		{"cookie of no page", request("/ws", "Cookie: session="+good), 401, 403},
		{"cookie of no page that says it is", request("/ws", "Cookie: session="+good, "Sec-Fetch-Site: same-origin"), 401, 403},
		{"another cookie", request("/ws", "Cookie: other="+good, "Origin: https://localhost"), 401, 401},
		{"query", request("/ws?access_token=" + good), 401, 101},
		{"query, invalid", request("/ws?access_token=nonsense"), 401, 401},
		{"the header before all others", request("/ws?access_token="+good, bad, "Sec-WebSocket-Protocol: bearer."+good), 401, 401},
		{"the subprotocol before the cookie", request("/ws", "Sec-WebSocket-Protocol: bearer.no.token", "Cookie: session="+good, "Origin: https://localhost"), 401, 401},
		{"the cookie before the query", request("/ws?access_token="+good, "Cookie: session=nonsense", "Origin: https://localhost"), 401, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n, status := range map[*node]int{strict: c.strict, lax: c.lax} {
				r := n.ask(t, c.request)
				switch status {
				case 401:
					refused(t, r, 401, wire.Unauthorized)
					if got := r.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") { // RFC 9110 §11.6.1
						t.Errorf("WWW-Authenticate %q", got)
					}
				case 403:
					refused(t, r, 403, wire.ForbiddenOrigin)
				default:
					if r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Protocol") != wire.Subprotocol {
						t.Errorf("%s, subprotocol %q", r.Status, r.Header.Get("Sec-WebSocket-Protocol"))
					}
				}
			}
		})
	}
}

func TestToken_RefusalsSayWhatToDo(t *testing.T) {
	i := newIssuer(t)
	expired := i.token(grants{sub: "ada", expires: soon(-time.Minute)})
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) { cfg.TokenCookie, cfg.TokenQuery = "session", true })
	for _, c := range []struct {
		request string
		says    []string
		result  string
	}{
		{request("/ws"), []string{"Authorization: Bearer", "subprotocol bearer.", "cookie session", "access_token"}, "missing"},
		{request("/ws", "Authorization: Bearer "+expired), []string{"expired", "new one"}, "expired"},
		{request("/ws", "Authorization: Bearer secret.word.here"), []string{"not valid here"}, "invalid"},
	} {
		r := n.ask(t, c.request)
		answer, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		body := string(answer)
		for _, says := range c.says {
			if !strings.Contains(body, says) {
				t.Errorf("%s does not say %q", body, says)
			}
		}
		if strings.Contains(body, "secret") || strings.Contains(body, expired) {
			t.Errorf("%s holds the token", body)
		}
		if got := n.value("tidings_edge_tokens_total", "result", c.result); got != 1 {
			t.Errorf("%v are counted as %s", got, c.result)
		}
	}
	if got := n.value("tidings_edge_handshakes_total", "result", "unauthorized"); got != 3 {
		t.Errorf("%v handshakes are counted as unauthorized", got)
	}
}

func TestConnected_SaysWhenTheTokenExpires(t *testing.T) {
	i := newIssuer(t)
	n := newCluster(t).edge(i.takes)
	ends := time.Now().Add(time.Hour).Truncate(time.Second)
	for token, want := range map[string]int64{
		i.token(grants{sub: "ada", expires: ends}): ends.UnixMilli(),
		i.token(grants{sub: "ada"}):                0,
	} {
		got := n.dial(bearing(token)).greeting
		if p := payload[wire.ConnectedPayload](t, got); p.Expires != want {
			t.Errorf("expires %d, want %d", p.Expires, want)
		}
		if there := strings.Contains(got.text, "expires"); there != (want != 0) {
			t.Errorf("%s", got.text)
		}
	}
}

func TestGrants_BoundWhatMayBeSubscribedTo(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes)
	client := n.dial(bearing(i.token(grants{sub: "ada", subscribe: []string{"metrics.>", "containers.web-1"}})))
	for id, topics := range []string{`"containers.web-2"`, `"metrics.a","containers.*"`, `">"`, `"*.web-1"`, `"host.web-1"`, `"metrics"`} {
		client.say(`{"type":"subscribe","id":%d,"topics":[%s]}`, id+1, topics)
		m := client.next()
		p := payload[wire.ErrorPayload](t, m)
		wrong := topics[strings.LastIndex(topics, ",")+1:]
		if m.ID != uint64(id+1) || p.Code != wire.Forbidden || `"`+m.Topic+`"` != wrong || !strings.Contains(p.Message, strings.Trim(wrong, `"`)) {
			t.Errorf("%s got %s", topics, m.text)
		}
	}
	if got := n.value("tidings_edge_subscriptions"); got != 0 {
		t.Errorf("%v subscriptions are held", got) // refused whole
	}
	client.id = 100
	client.subscribe("metrics.*", "metrics.a.b", "containers.web-1")
	client.data(at("metrics.a", c.publish("metrics.a", `1`)))
	client.unsubscribe("host.web-1") // takes no grant
	none := n.dial(bearing(i.token(grants{sub: "bob"})))
	none.say(`{"type":"subscribe","id":1,"topics":["metrics.a"]}`)
	if m := none.next(); payload[wire.ErrorPayload](t, m).Code != wire.Forbidden {
		t.Errorf("without any grant got %s", m.text)
	}
}

func TestTokens_OverHTTP(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes, func(cfg *edge.Config) { cfg.TokenCookie, cfg.TokenQuery = "session", true })
	c.publish("metrics.a", `1`)
	good := i.token(grants{sub: "ada", subscribe: []string{"metrics.>"}})
	for _, path := range []string{"/last", "/events"} {
		for _, ask := range []struct {
			name   string
			query  string
			header []string
			status int
			code   wire.Code
		}{
			{"no token", "topic=metrics.a", nil, 401, wire.Unauthorized},
			{"invalid", "topic=metrics.a", []string{"Authorization", "Bearer no"}, 401, wire.Unauthorized},
			{"header", "topic=metrics.a", []string{"Authorization", "Bearer " + good}, 200, ""},
			{"query", "topic=metrics.*&access_token=" + good, nil, 200, ""},
			{"not granted", "topic=metrics.a&topic=host.a", []string{"Authorization", "Bearer " + good}, 403, wire.Forbidden},
			{"cookie of the own page", "topic=metrics.a", []string{"Cookie", "session=" + good, "Sec-Fetch-Site", "same-origin"}, 200, ""},
			{"cookie of the own page, named", "topic=metrics.a", []string{"Cookie", "session=" + good, "Origin", "http://" + n.host}, 200, ""},
			{"cookie of another page", "topic=metrics.a", []string{"Cookie", "session=" + good, "Sec-Fetch-Site", "cross-site"}, 403, wire.ForbiddenOrigin},
			{"cookie of who knows", "topic=metrics.a", []string{"Cookie", "session=" + good}, 403, wire.ForbiddenOrigin},
		} {
			t.Run(path+" "+ask.name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.host+path+"?"+ask.query, nil)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(ask.header); i += 2 {
					r.Header.Set(ask.header[i], ask.header[i+1])
				}
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				got, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer got.Body.Close()
				if ask.status == 200 {
					if got.StatusCode != 200 {
						t.Errorf("%s", got.Status)
					}
					return
				}
				refused(t, got, ask.status, ask.code)
			})
		}
	}
}

// Metrics and logs of an edge that was shown tokens, good and bad ones, by every way.
func TestTokens_AreNeverToldToOthers(t *testing.T) {
	i := newIssuer(t)
	var log bytes.Buffer
	n := newCluster(t).edge(i.takes, func(cfg *edge.Config) {
		cfg.TokenCookie, cfg.TokenQuery = "session", true
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	good := i.token(grants{sub: "ada", subscribe: []string{"metrics.>"}})
	const bad = "c2VjcmV0.d29yZA.c2ln"
	for _, token := range []string{good, bad} {
		n.ask(t, request("/ws", "Authorization: Bearer "+token))
		n.ask(t, request("/ws", "Sec-WebSocket-Protocol: bearer."+token))
		n.ask(t, request("/ws?access_token="+token))
		n.ask(t, request("/ws", "Cookie: session="+token, "Origin: http://localhost"))
		n.ask(t, fmt.Sprintf("GET /last?topic=metrics.a&access_token=%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", token))
	}
	client := n.dial(bearing(good))
	client.say(`{"type":"refresh","id":1,"token":"%s"}`, bad)
	if m := client.next(); strings.Contains(m.text, bad) {
		t.Errorf("got %s", m.text)
	}
	n.stop()
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		log.WriteString(f.String())
	}
	for _, token := range []string{good, bad} {
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 3 && strings.Contains(log.String(), part) {
				t.Errorf("a part of a token got out: %q", part)
			}
		}
	}
	if !strings.Contains(log.String(), "a token was refused") {
		t.Errorf("the operator is not told why one was refused:\n%s", log.String())
	}
}
