//go:build linux

package chaos

import (
	"fmt"
	"strconv"
	"strings"
)

// resources is what an edge uses.
type resources struct {
	goroutines, descriptors, heap float64
}

// What an edge may have more than when it was idle: a connection to the operator's port more or less, and rings and frames
// of topics that it still holds.
const (
	moreGoroutines  = 5
	moreDescriptors = 5
	moreHeap        = 8 << 20
)

// resources reads what an edge uses, without what it has dropped.
func (e *edge) resources() resources {
	e.t.Helper()
	if status, body := get(e.admin() + "/debug/pprof/heap?gc=1"); status != 200 {
		e.t.Fatalf("collect the garbage of %s: %d %.200s", e.name, status, body)
	}
	_, body := get(e.admin() + "/metrics")
	return resources{metric(body, "go_goroutines"), metric(body, "process_open_fds"), metric(body, "go_memstats_heap_inuse_bytes")}
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

// settled waits until every edge uses what it used before anybody came.
func (c *cluster) settled() {
	c.t.Helper()
	for _, e := range c.edges {
		before := c.idle[e.node.name]
		var now resources
		eventually(c.t, e.name+" to use no more than before", func() error {
			now = e.resources()
			if now.goroutines < 0 || now.goroutines > before.goroutines+moreGoroutines || now.descriptors > before.descriptors+moreDescriptors ||
				now.heap > before.heap+moreHeap {
				return fmt.Errorf("it was %+v and is %+v", before, now)
			}
			return nil
		})
		c.t.Logf("%s: goroutines %v → %v, descriptors %v → %v, heap %.1f → %.1f MB", e.name, before.goroutines, now.goroutines,
			before.descriptors, now.descriptors, before.heap/1e6, now.heap/1e6)
	}
}
