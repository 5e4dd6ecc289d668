//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// resources is what an edge uses.
type resources struct {
	goroutines, descriptors, heap float64
	subscriptions                 int // at NATS
}

// What an edge may have more than when it was idle: a connection to the operator's port more or less, and rings and frames
// of topics that it still holds.
const (
	moreGoroutines  = 5
	moreDescriptors = 5
	moreHeap        = 8 << 20
)

// resources reads what an edge uses, without what it has dropped.
func (c *cluster) resources(e *edge) resources {
	c.t.Helper()
	body := e.measured()
	return resources{metric(body, "go_goroutines"), metric(body, "process_open_fds"), metric(body, "go_memstats_heap_inuse_bytes"), c.subscriptions(e)}
}

// measured is the metrics' page of an edge that has collected its garbage.
func (e *edge) measured() (page string) {
	e.t.Helper()
	if status, body := get(e.admin() + "/debug/pprof/heap?gc=1"); status != 200 {
		e.t.Fatalf("collect the garbage of %s: %d %.200s", e.name, status, body)
	}
	_, page = get(e.admin() + "/metrics")
	return page
}

// subscriptions counts what an edge has subscribed to at NATS, which knows it by its name.
func (c *cluster) subscriptions(e *edge) (n int) {
	c.t.Helper()
	for _, s := range c.nats {
		status, body := get("http://" + s.node.address + ":8222/connz?limit=1024")
		var known struct {
			Connections []struct {
				Name          string
				Subscriptions int
			}
		}
		if err := json.Unmarshal([]byte(body), &known); err != nil || status != 200 {
			c.t.Fatalf("ask %s for its clients: %d %v %.200s", s.node.name, status, err, body)
		}
		for _, one := range known.Connections {
			if one.Name == e.node.name {
				n += one.Subscriptions
			}
		}
	}
	return n
}

// metric reads one without labels; -1: it is not there.
func metric(page, name string) float64 {
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			if value, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil {
				return value
			}
		}
	}
	return -1
}

// than tells whether it is no more than before.
func (now resources) than(before resources) error {
	if now.goroutines < 0 || now.goroutines > before.goroutines+moreGoroutines || now.descriptors > before.descriptors+moreDescriptors ||
		now.heap > before.heap+moreHeap || now.subscriptions > before.subscriptions {
		return fmt.Errorf("it was %+v and is %+v", before, now)
	}
	return nil
}

// settled waits until every edge uses what it used before anybody came.
func (c *cluster) settled() {
	c.t.Helper()
	for _, e := range c.edges {
		c.settles(e, c.idle[e.node.name])
	}
}

// settles waits until an edge uses what it used before.
func (c *cluster) settles(e *edge, before resources) {
	c.t.Helper()
	var now resources
	eventually(c.t, e.name+" to use no more than before", func() error {
		now = c.resources(e)
		return now.than(before)
	})
	c.t.Logf("%s: goroutines %v → %v, descriptors %v → %v, heap %.1f → %.1f MB, subscriptions at NATS %d → %d", e.name, before.goroutines, now.goroutines,
		before.descriptors, now.descriptors, before.heap/1e6, now.heap/1e6, before.subscriptions, now.subscriptions)
}
