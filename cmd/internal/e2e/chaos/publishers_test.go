//go:build linux

package chaos

import (
	"testing"
	"time"
)

// The host of a publisher that was killed is said to be gone; the other one's metrics go on as if nothing had been.
func TestPublisher_KilledHarmsNoOther(t *testing.T) {
	c := newCluster(t, plan{})
	p := c.publishers[0] // of the host "north"
	c.load.goOn(200)
	p.kill()
	killed := time.Now()
	c.load.goOnFor(20 * time.Second) // the claim of a host lapses after 15 s
	h, r := c.verdict(Rules{})
	c.within(r, heartbeat)

	south := map[string]time.Time{}
	gone := map[string]bool{}
	for _, e := range h.Events {
		at := time.UnixMicro(e.At)
		switch {
		case e.What != Message:
		case e.Topic == "host.north":
			gone[e.Client] = e.Gone
			if e.Gone && at.Sub(killed) > 20*time.Second {
				t.Errorf("%s was told %v after the end that north is gone", e.Client, at.Sub(killed))
			}
		case e.Topic == "metrics.south":
			if last, ok := south[e.Client]; ok && at.Sub(last) > 5*time.Second {
				t.Errorf("%s had no metrics of south for %v", e.Client, at.Sub(last))
			}
			south[e.Client] = at
		}
	}
	for _, client := range h.Clients {
		if client.wants("host.north") && !gone[client.Name] {
			t.Errorf("%s was not told that north is gone", client.Name)
		}
		if client.wants("metrics.south") && h.Ended.Sub(south[client.Name]) > 5*time.Second {
			t.Errorf("%s had metrics of south last %v before the end", client.Name, h.Ended.Sub(south[client.Name]))
		}
	}
	if len(gone) == 0 || len(south) == 0 {
		t.Error("nobody looks at hosts")
	}
}
