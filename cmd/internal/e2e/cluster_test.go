//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/bus/bustest"
)

// edge is an edge in a process of its own.
type edge struct {
	*program
	socket string // URL of its WebSockets
	admin  string // URL of the operator's port
}

// startEdge returns when the edge is ready.
func startEdge(t testing.TB, server *bustest.Server, args ...string) edge {
	t.Helper()
	return launchEdge(t, server, nil, args...)
}

// launchEdge starts one with settings in the environment.
func launchEdge(t testing.TB, server *bustest.Server, env []string, args ...string) edge {
	t.Helper()
	return launchEdgeBy(t, server, command{env: env, args: args})
}

// launchEdgeBy starts one as a command says, but for its path.
func launchEdgeBy(t testing.TB, server *bustest.Server, c command) edge {
	t.Helper()
	return launchEdgeAt(t, server.URL(), c)
}

// launchEdgeAt starts one that finds NATS at a URL.
func launchEdgeAt(t testing.TB, nats string, c command) edge {
	t.Helper()
	c.path = programs.path(t, "edge")
	c.args = append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", nats}, c.args...)
	c.env = append([]string{"TIDINGS_AUTH=none", "TIDINGS_DRAIN_WAIT=0s", "TIDINGS_DRAIN_WINDOW=4s", "TIDINGS_DRAIN_GRACE=6s"}, c.env...) // no load balancer has to notice
	e := edge{program: launch(t, c)}
	e.socket = "ws://" + e.await(e.stderr, `"msg":"auth is .*"listen":"([^"]+)"`) + "/ws"
	e.admin = "http://" + e.await(e.stderr, `"msg":"started","admin":"([^"]+)"`)
	ready(t, e.admin)
	return e
}

// startPublisher returns as soon as the process has started; ready tells when it holds the host's name.
func startPublisher(t testing.TB, server *bustest.Server, host string, args ...string) (p *program, admin string) {
	t.Helper()
	args = append([]string{"--admin", "127.0.0.1:0", "--nats", server.URL(), "--host", host}, args...)
	p = start(t, "publisher", args...)
	return p, "http://" + p.await(p.stderr, `"msg":"started","admin":"([^"]+)"`)
}

// ready waits until an operator's port says so.
func ready(t testing.TB, admin string) {
	t.Helper()
	eventually(t, admin+"/readyz to say yes", patience, func() error {
		if status, body := get(t, admin+"/readyz"); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// strangers keeps no connection open, so that none is taken for a leak.
var strangers = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// get asks a server. Status 0: it is not there.
func get(t testing.TB, address string) (status int, body string) {
	t.Helper()
	response, err := strangers.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the answer of %s: %v", address, err)
	}
	return response.StatusCode, string(content)
}

// metric reads a metric without labels from an operator's port.
func metric(t testing.TB, admin, name string) float64 {
	t.Helper()
	_, body := get(t, admin+"/metrics")
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return value
		}
	}
	t.Fatalf("no %s at %s", name, admin)
	return 0
}

// line is a connection to NATS that none of our code made.
func line(t testing.TB, server *bustest.Server) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// publish sends a message as any NATS client may, and returns the place that the stream has acknowledged.
func publish(t testing.TB, conn *nats.Conn, topic, payload string) uint64 {
	t.Helper()
	answer, err := conn.Request("tidings.pub."+topic, []byte(payload), patience)
	if err != nil {
		t.Fatalf("publish %s: %v", topic, err)
	}
	var ack struct {
		Seq   uint64
		Error json.RawMessage
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Seq == 0 {
		t.Fatalf("publish %s: %s", topic, answer.Data)
	}
	return ack.Seq
}

// counting publishes {"n":1}, {"n":2}… until stop, which returns the last one.
func counting(t testing.TB, server *bustest.Server, topic string, pause time.Duration) (stop func() (last int)) {
	t.Helper()
	conn := line(t, server)
	quit, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-quit:
				ended <- n - 1
				return
			case <-tick.C:
			}
			answer, err := conn.Request("tidings.pub."+topic, fmt.Appendf(nil, `{"n":%d}`, n), patience)
			if err != nil || strings.Contains(string(answer.Data), "error") {
				t.Errorf("publish %d to %s: %v", n, topic, err)
				ended <- n - 1
				return
			}
		}
	}()
	stopped := false
	stop = func() int {
		if !stopped {
			stopped = true
			close(quit)
		}
		last := <-ended
		ended <- last
		return last
	}
	t.Cleanup(func() { stop() })
	return stop
}

// number is what counting put into a message.
func number(t testing.TB, m message) int {
	t.Helper()
	return payload[struct{ N int }](t, m).N
}

// connection is what NATS' monitoring knows of a client of its.
type connection struct {
	CID           uint64   `json:"cid"`
	Name          string   `json:"name"`
	OutMsgs       int64    `json:"out_msgs"` // from NATS to the client
	Subscriptions []string `json:"subscriptions_list"`
}

// connectionOf asks NATS for the client of a name.
func connectionOf(t testing.TB, server *bustest.Server, name string) connection {
	t.Helper()
	status, body := get(t, server.MonitorURL()+"/connz?subs=1&"+url.Values{"limit": {"1000"}}.Encode())
	var all struct{ Connections []connection }
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != 200 {
		t.Fatalf("NATS' monitoring: %d %v %s", status, err, body)
	}
	i := slices.IndexFunc(all.Connections, func(c connection) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("NATS knows no client %q: %s", name, body)
	}
	return all.Connections[i]
}
