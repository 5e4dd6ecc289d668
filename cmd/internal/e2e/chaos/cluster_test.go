//go:build linux

package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// cluster is the whole of it: three NATS servers, three edges behind HAProxy, two publishers of hosts, counting publishers
// and a crowd of clients, each with an address of its own.
type cluster struct {
	t          testing.TB
	seed       uint64
	random     *rand.Rand
	network    *network
	nats       []*natsServer
	line       *nats.Conn // the test's own
	edges      []*edge
	publishers []*publisher
	load       *load
	audiences  []*audience
	wait       time.Duration
	idle       map[string]resources // of each edge, before anybody came
}

// edge is one of the cluster's.
type edge struct {
	*program
	node *node
	path string   // of its program
	nats string   // where it finds NATS
	more []string // settings, beside what all have
}

// publisher is one of a host's.
type publisher struct {
	*program
	node *node
	host string
	nats string // where it finds NATS
}

// heartbeat is the edges'. It is shorter than by default, so that clients notice a dead edge within a test.
const heartbeat = 4 * time.Second

// settings is what all programs are started with, beside flags.
var settings = []string{
	"TIDINGS_STREAM_REPLICAS=3",
	"TIDINGS_STREAM_MAX_PER_TOPIC=1000000",
	"TIDINGS_LOG_FORMAT=text",
	"TIDINGS_ADMIN_PPROF=true", // it collects garbage when asked for the heap
}

// balancer is HAProxy's address, which the edges trust to say who a client is.
const balancer = "10.77.0.41"

// plan is how a cluster differs from the usual one.
type plan struct {
	edge    string                                 // the program; "": as it is
	crowd   string                                 // the same, for the clients
	edges   []string                               // settings of theirs, beside what all have
	wait    time.Duration                          // at the end, for clients to have everything; 0: patience
	proxied func(*cluster, []*natsServer) []string // addresses that the edges know instead of NATS'
}

// newCluster returns when every client has subscribed and the load is on.
func newCluster(t *testing.T, p plan) *cluster {
	t.Helper()
	seed := scene(t)
	t.Logf("seed %d", seed)
	c := &cluster{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), network: newNetwork(t),
		wait: cmp.Or(p.wait, patience), idle: map[string]resources{}}
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, c.network.add(fmt.Sprintf("nats-%d", i+1), 11+i))
	}
	c.nats = newNATS(t, nodes)
	for _, s := range c.nats {
		s.start()
	}
	for _, s := range c.nats {
		s.healthy()
	}
	c.line = line(t, c.nats)

	var urls []string
	for _, s := range c.nats {
		urls = append(urls, s.url())
	}
	known := urls
	if p.proxied != nil {
		known = p.proxied(c, c.nats)
	}
	if p.edge == "" {
		p.edge = built(t, "edge")
	}
	for i := range 3 {
		e := &edge{node: c.network.add(fmt.Sprintf("edge-%d", i+1), 21+i), path: p.edge, nats: strings.Join(known, ","), more: p.edges}
		c.edges = append(c.edges, e)
		e.start()
	}
	for _, e := range c.edges {
		e.ready()
	}
	for i, host := range []string{"north", "south"} {
		m := c.network.add(fmt.Sprintf("publisher-%d", i+1), 31+i)
		p := &publisher{node: m, host: host, nats: strings.Join(urls, ",")}
		c.publishers = append(c.publishers, p)
		p.start()
	}
	c.balance(c.network.add("haproxy", 41))
	c.leader()
	c.load = newLoad(t, c.nats, seed)
	for _, topic := range counted { // so that every topic has a value when the clients come
		if err := c.load.publish(topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range c.edges {
		c.idle[e.node.name] = c.resources(e)
	}
	c.crowded(p.crowd)
	c.load.start()
	c.load.goOn(100)
	return c
}

func (e *edge) start() {
	e.node.t.Helper()
	env := append(slices.Clone(settings), "TIDINGS_LINGER=1s", "TIDINGS_HEARTBEAT="+heartbeat.String(), "TIDINGS_TRUSTED_PROXIES="+balancer)
	e.program = e.node.start(e.node.name, command{path: e.path, env: append(env, e.more...),
		args: []string{"--auth", "none", "--listen", e.node.address + ":8080", "--admin", e.node.address + ":8081", "--name", e.node.name, "--nats", e.nats}})
}

func (p *publisher) start() {
	p.node.t.Helper()
	p.program = p.node.start(p.node.name, command{path: built(p.node.t, "publisher"), env: settings, args: []string{"--nats", p.nats,
		"--admin", p.node.address + ":8082", "--host", p.host, "--docker-host", "unix:///nowhere/docker.sock"}})
}

func (e *edge) admin() string { return "http://" + e.node.address + ":8081" }

// ready waits until an edge says so.
func (e *edge) ready() {
	e.t.Helper()
	eventually(e.t, e.name+" to be ready", func() error {
		if status, body := get(e.admin() + "/readyz"); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// haproxyConfig sends connections to the edge that has the fewest, of those that are ready, and says whose they are.
const haproxyConfig = `
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
  timeout tunnel 1h
  retries 3
  option redispatch
  option forwardfor
listen edges
  bind :80
  balance leastconn
  option httpchk GET /readyz
  default-server check port 8081 inter 500ms fall 2 rise 1
`

// balance starts HAProxy.
func (c *cluster) balance(m *node) {
	c.t.Helper()
	config := haproxyConfig
	for _, e := range c.edges {
		config += fmt.Sprintf("  server %s %s:8080\n", e.node.name, e.node.address)
	}
	path := filepath.Join(c.t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	m.start(m.name, command{path: "haproxy", args: []string{"-db", "-f", path}})
	eventually(c.t, "HAProxy to let somebody through", func() error {
		if status, body := get("http://" + m.address + "/"); status != 200 {
			return fmt.Errorf("%d %.100s", status, body)
		}
		return nil
	})
}

// finish ends the load, waits until the clients have everything, and returns what happened.
func (c *cluster) finish() History {
	c.t.Helper()
	c.load.end()
	ended := time.Now()
	for _, s := range c.nats {
		s.healthy()
	}
	for _, a := range c.audiences {
		a.tell(farewell{Last: c.load.last, Wait: c.wait})
	}
	h := History{Scenario: c.t.Name(), Seed: c.seed, Began: c.load.began, Ended: ended, Acked: c.load.acked}
	for _, a := range c.audiences {
		a.exitWithin(2 * patience) // it waits itself, for clients that may never have everything
		h.Clients = append(h.Clients, a.clients...)
		h.Events = append(h.Events, a.saw(c.t)...)
	}
	h.Stored = c.stored()
	c.keep(h)
	return h
}

// stored reads back what the stream has. The server that is asked may not have caught up yet; what does not appear while one
// waits is lost.
func (c *cluster) stored() (all []Stored) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(patience / 2); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if all, err = stored(c.line); err != nil {
			continue
		}
		behind := maps.Clone(c.load.last)
		for _, s := range all {
			if s.Seq >= behind[s.Topic] {
				delete(behind, s.Topic)
			}
		}
		if len(behind) == 0 {
			break
		}
	}
	if err != nil {
		c.t.Fatalf("read the stream: %v", err)
	}
	return all
}

// keep writes a history where it was asked for.
func (c *cluster) keep(h History) {
	c.t.Helper()
	dir := os.Getenv(historyVariable)
	if dir == "" {
		return
	}
	text, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.json", h.Scenario, h.Seed)), text, 0o600)
	}
	if err != nil {
		c.t.Error(err)
	}
}

// verdict ends a scenario: nothing may be broken, and the edges are as they were before anybody came.
func (c *cluster) verdict(rules Rules) (History, Report) {
	c.t.Helper()
	h := c.finish()
	r := Check(h, rules)
	c.t.Logf("%d messages acknowledged in %.1f s; %d clients had %d; longest silence %.1f s (%s), latest message after %.1f s; %d resumes, %d times offline",
		len(h.Acked), h.Ended.Sub(h.Began).Seconds(), len(h.Clients), r.Messages, r.Silence.Seconds(), r.Silent, r.Late.Seconds(), r.Resumes, r.Offline)
	for i, f := range r.Faults {
		if i == 20 {
			c.t.Errorf("and %d more", len(r.Faults)-i)
			break
		}
		c.t.Error(f)
	}
	c.settled()
	return h, r
}

// within fails when a client was without any data for longer than that, or had a message so late.
func (c *cluster) within(r Report, most time.Duration) {
	c.t.Helper()
	if r.Silence > most || r.Late > most {
		c.t.Errorf("%s had nothing for %v, and some message was %v late; at most %v is promised", r.Silent, r.Silence, r.Late, most)
	}
}

// anEdge is one that the seed chooses, with clients.
func (c *cluster) anEdge() *edge {
	c.t.Helper()
	e := c.edges[c.random.IntN(len(c.edges))]
	_, body := get(e.admin() + "/metrics")
	if metric(body, "tidings_edge_connections") <= 0 {
		c.t.Fatalf("%s has no clients", e.name)
	}
	return e
}

// strangers keeps no connection open.
var strangers = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// get asks a server. Status 0: it is not there.
func get(address string) (status int, body string) {
	response, err := strangers.Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(content)
}
