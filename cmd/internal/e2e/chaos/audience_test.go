//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// audience is some clients in one process, in a node of their own.
type audience struct {
	*program
	node    *node
	clients []Client
	journal string // the file of their events
}

// tastes are what clients may subscribe to.
var tastes = [][]string{
	{"orders.>"},
	{"orders.a", "alerts.*"},
	{"orders.*", "orders.a", "metrics.*"},
	{"metrics.>", "containers.*"},
	{"*.x", "*.a", "metrics.m1"},
	{"orders.b", "alerts.x", "host.*", "metrics.>"},
}

// crowded is the usual audience, which comes by way of HAProxy.
func (c *cluster) crowded(path string) {
	c.t.Helper()
	var clients []Client
	for i := range 24 {
		clients = append(clients, c.client("", i, tastes[(i+c.random.IntN(2))%len(tastes)]...))
	}
	c.seat(c.network.add("clients", 51), path, balanced, clients)
}

// client is one of an audience; each third is a witness.
func (c *cluster) client(prefix string, i int, patterns ...string) Client {
	kind := Library
	if i%3 == 0 {
		kind = Witness
	}
	return Client{Name: fmt.Sprintf("%s%s-%d", prefix, kind, i), Kind: kind, Patterns: patterns}
}

// balanced is where clients go who leave it to HAProxy which edge they get.
const balanced = "ws://" + balancer + "/ws"

// seat starts clients, by the program at path or else by this one, and returns when each has subscribed.
func (c *cluster) seat(m *node, path, url string, clients []Client) *audience {
	c.t.Helper()
	if path == "" {
		path = self(c.t)
	}
	a := &audience{node: m, clients: clients, journal: filepath.Join(c.t.TempDir(), "journal")}
	a.program = m.start(m.name, command{path: path, env: []string{roleVariable + "=" + roleCrowd}})
	a.tell(orders{URL: url, Journal: a.journal, Clients: clients})
	a.await(ready)
	c.audiences = append(c.audiences, a)
	return a
}

// tell writes a line to an audience.
func (a *audience) tell(value any) {
	a.t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		_, err = a.stdin.Write(append(text, '\n'))
	}
	if err != nil {
		a.t.Fatalf("tell %s: %v", a.name, err)
	}
}

// saw is what an audience that has left has seen.
func (a *audience) saw(t testing.TB) []Event {
	t.Helper()
	file, err := os.Open(a.journal)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	events, err := ReadEvents(file)
	if err != nil {
		t.Fatal(err)
	}
	return events
}
