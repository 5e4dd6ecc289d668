package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tidings/edge"
	"tidings/edge/wire"
)

// events is a stream of server-sent events as a client reads it.
type events struct {
	t     testing.TB
	lines chan string
	stop  context.CancelFunc
}

// event is one of them.
type event struct {
	id, kind, data string
}

// listen opens a stream. The query is all that follows the question mark.
func (n *node) listen(t testing.TB, query string, header ...string) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.host+"/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("%s, %s: %s", response.Status, response.Header.Get("Content-Type"), body)
	}
	e := &events{t: t, lines: make(chan string, 1<<16), stop: cancel}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer close(e.lines)
		in := bufio.NewScanner(response.Body)
		in.Buffer(nil, 4<<20)
		for in.Scan() {
			e.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		response.Body.Close()
		client.CloseIdleConnections()
	})
	return e
}

// next waits for an event; comments are passed over.
func (e *events) next() event {
	e.t.Helper()
	var got event
	for {
		select {
		case line, ok := <-e.lines:
			name, value, _ := strings.Cut(line, ": ")
			switch {
			case !ok:
				e.t.Fatal("the stream ended")
			case line == "" && got != event{}:
				return got
			case line == "" || name == "":
			case name == "id":
				got.id = value
			case name == "event":
				got.kind = value
			case name == "data":
				got.data = value
			default:
				e.t.Fatalf("line %q", line)
			}
		case <-time.After(patience):
			e.t.Fatal("no event came")
		}
	}
}

// data waits for messages that must be those, in order, written topic@seq, and returns the id of the last one.
func (e *events) data(epoch string, wanted ...string) (id string) {
	e.t.Helper()
	for _, want := range wanted {
		got := e.next()
		var m wire.Message
		if err := json.Unmarshal([]byte(got.data), &m); err != nil {
			e.t.Fatalf("%+v: %v", got, err)
		}
		if id = fmt.Sprintf("%s:%d", epoch, m.Seq); at(m.Topic, m.Seq) != want || got.kind != m.Type || got.id != id {
			e.t.Fatalf("got %+v, want %s", got, want)
		}
	}
	return id
}

func (e *events) acked() {
	e.t.Helper()
	if got := e.next(); got.kind != "ack" {
		e.t.Fatalf("got %+v", got)
	}
}

func TestEvents_AreTheMessages(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	value := c.publish("metrics.a", "{\n\"a\":\r\n 1}")
	e := n.listen(t, "topic=metrics.*&topic="+url.QueryEscape("orders.>"))
	e.acked()
	got := e.next()
	want := event{c.epoch() + ":1", "metrics", `{"type":"metrics","topic":"metrics.a","seq":1,"prev":0,"timestamp":T,"payload":{ "a":   1}}`}
	if got.data = string(timestamp.ReplaceAll([]byte(got.data), []byte(`"timestamp":T`))); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	e.data(c.epoch(), at("orders.x.y", c.publish("orders.x.y", `1`)), at("metrics.a", c.publish("metrics.a", `2`)))
	if value != 1 {
		t.Errorf("value at %d", value)
	}
	// The HTTP server is told when the client leaves.
	e.stop()
	eventually(t, "its subscriptions have ended", func() bool { return n.value("tidings_edge_subscriptions") == 0 })
}

func TestEvents_ResumeAtTheLastEventID(t *testing.T) {
	c := newCluster(t)
	n, other := c.edge(), c.edge()
	e := n.listen(t, "topic=orders.a&topic=orders.b")
	e.acked()
	id := e.data(c.epoch(), at("orders.a", c.publish("orders.a", `0`)))
	var missed []string
	for i := range 10 {
		missed = append(missed, at("orders.b", c.publish("orders.b", fmt.Sprint(i))), at("orders.a", c.publish("orders.a", fmt.Sprint(i))))
	}
	// In rising order over both, so that wherever the stream is cut off its last id is a position for both.
	for _, n := range []*node{n, other} {
		e := n.listen(t, "topic=orders.a&topic=orders.b", "Last-Event-ID", id)
		e.acked()
		e.data(c.epoch(), missed...)
		e = n.listen(t, "topic=orders.a&topic=orders.b&since="+url.QueryEscape(id))
		e.acked()
		e.data(c.epoch(), missed...)
		// What a browser says itself counts more.
		e = n.listen(t, "topic=orders.a&topic=orders.b&since="+url.QueryEscape(id), "Last-Event-ID", fmt.Sprintf("%s:%d", c.epoch(), 19))
		e.acked()
		e.data(c.epoch(), missed[18:]...)
	}
	e = n.listen(t, "topic=orders.a", "Last-Event-ID", "1a2b3c:5")
	if got := e.next(); got.kind != "ack" || !strings.Contains(got.data, `"recovered":false`) {
		t.Errorf("got %+v", got)
	}
	if got := e.next(); got.kind != "gap" || got.id != "" {
		t.Errorf("got %+v", got)
	}
}

func TestEvents_HaveHeartbeats(t *testing.T) {
	n := newCluster(t).edge(beating(100 * time.Millisecond))
	e := n.listen(t, "topic=orders.a")
	for beats := 0; beats < 6; { // longer than a client that answers no ping is kept
		select {
		case line, ok := <-e.lines:
			if !ok {
				t.Fatal("the stream ended")
			}
			if strings.HasPrefix(line, ":") && strings.Contains(line, "heartbeat") {
				beats++
			}
		case <-time.After(patience):
			t.Fatal("no heartbeat came")
		}
	}
}

func TestEvents_EndWhenTheEdgeDrains(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.DrainGrace = 300 * time.Millisecond })
	e := n.listen(t, "topic=orders.a")
	e.acked()
	n.end()
	if got := e.next(); got.kind != "going_away" || got.id != "" {
		t.Errorf("got %+v", got)
	}
	for range e.lines {
	}
	n.stop()
}

func TestSlowListener_GetsAllOfEvery(t *testing.T) {
	c := newCluster(t)
	n := c.edge(small)
	conn := n.tcpWith(4096)
	fmt.Fprint(conn, "GET /events?topic=orders.* HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "it has subscribed", func() bool { return n.value("tidings_edge_subscriptions") == 1 })
	const many = 400
	c.flood(4, 0, many, "orders.a")
	n.expectLagging(1)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(r.Body)
	in.Buffer(nil, 1<<20)
	for i := 0; i < many && in.Scan(); {
		if data, ok := strings.CutPrefix(in.Text(), "data: "); ok && strings.Contains(data, `"topic":"orders.a"`) && strings.Contains(data, `"seq"`) && !strings.Contains(data, `"ack"`) {
			if !strings.Contains(data, fmt.Sprintf(`{"n":%d,`, i)) {
				t.Fatalf("got %.150s, want number %d", data, i)
			}
			i++
		}
	}
	if err := in.Err(); err != nil {
		t.Error(err)
	}
	conn.Close()
}

func TestLast_AnswersOnce(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	c.publish("metrics.a", `"older"`)
	c.publish("orders.a", `{"a": 1}`)
	c.publish("metrics.b", `2`)
	c.publish("metrics.a", `"newer"`)
	c.publish("else.a", `1`)
	r, err := http.Get("http://" + n.host + "/last?topic=metrics.*&topic=orders.a")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s, %s: %v", r.Status, r.Header.Get("Content-Type"), err)
	}
	want := `{"epoch":"` + c.epoch() + `","seq":5,"messages":[` +
		`{"type":"orders","topic":"orders.a","seq":2,"prev":0,"timestamp":T,"payload":{"a": 1}},` +
		`{"type":"metrics","topic":"metrics.b","seq":3,"prev":0,"timestamp":T,"payload":2},` +
		`{"type":"metrics","topic":"metrics.a","seq":4,"prev":1,"timestamp":T,"payload":"newer"}]}`
	if got := string(bytes.TrimSpace(timestamp.ReplaceAll(body, []byte(`"timestamp":T`)))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHTTP_RefusalsSayWhy(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Limits.Subscriptions = 3 })
	for _, path := range []string{"/last", "/events"} {
		for name, query := range map[string]string{
			"no topic":      "",
			"empty":         "topic=",
			"no good":       "topic=a..b",
			"reserved":      "topic=ack.a",
			"too many":      "topic=a&topic=b&topic=c&topic=d",
			"bad since":     "topic=a&since=nonsense",
			"negative":      "topic=a&since=x:-1",
			"without epoch": "topic=a&since=:5",
		} {
			if path == "/last" && strings.Contains(query, "since") {
				continue
			}
			t.Run(path+" "+name, func(t *testing.T) {
				refused(t, n.ask(t, "GET "+path+"?"+query+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 400, wire.BadRequest)
			})
		}
		t.Run(path+" written to", func(t *testing.T) {
			answer := n.ask(t, "POST "+path+"?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			refused(t, answer, 405, wire.BadRequest)
			if allow := answer.Header.Get("Allow"); allow != "GET, HEAD" {
				t.Errorf("allows %q", allow)
			}
		})
		t.Run(path+" of another page", func(t *testing.T) {
			refused(t, n.ask(t, "GET "+path+"?topic=a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example.org\r\nConnection: close\r\n\r\n"), 403, wire.ForbiddenOrigin)
		})
	}
	c.nats.Stop()
	eventually(t, "the edge notices", func() bool { return len(n.Ready()) > 0 })
	refused(t, n.ask(t, "GET /last?topic=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 503, wire.Unavailable)
}

func TestEvents_CountAsConnections(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Limits.Connections = 2 })
	n.listen(t, "topic=a").acked()
	// The stream itself takes one place and its request another.
	refused(t, n.ask(t, handshake), 503, wire.Unavailable)
}
