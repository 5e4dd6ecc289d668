//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/edge/wire"
)

// Three audiences vanish without a FIN or an RST: the packets of one are lost both ways; one is stopped, and answers no ping;
// one is stopped while it is due so much that its socket is full. The edge gives up each in time, and has then what it had
// before they came: memory, descriptors, and subscriptions at NATS, of which they had some of their own. Nobody else notices.
// When they are back they have everything.
func TestClients_VanishedLoseNothing(t *testing.T) {
	const slow = heartbeat * 3 / 2
	c := newCluster(t, plan{edges: []string{"TIDINGS_SLOW_TIMEOUT=" + slow.String()}})
	e := c.anEdge()
	before := c.resources(e)
	const each = 8
	vanishing := func(name string, last int, patterns ...string) *audience {
		var clients []Client
		for i := range each {
			clients = append(clients, c.client(name+"-", i, patterns...))
		}
		return c.seat(c.network.add(name, last), "", "ws://"+e.node.address+":8080/ws", clients)
	}
	cut := vanishing("cut", 52, "*.b")
	stopped := vanishing("stopped", 53, "alerts.>")
	stuffed := vanishing("stuffed", 54, "orders.>", "*.m1")
	c.load.goOn(200)
	if with := c.resources(e); with.descriptors < before.descriptors+3*each || with.subscriptions <= before.subscriptions {
		t.Fatalf("%s had %+v before they came, and has %+v with them", e.name, before, with)
	}

	began := time.Now()
	either := []wire.CloseCode{wire.CloseNoPong, wire.CloseTooSlow} // what is sent to who is cut off may fill a socket sooner
	closed, noPong := e.closed(either...), e.closed(wire.CloseNoPong)
	mend := cut.node.vanish()
	stopped.signal(syscall.SIGSTOP)
	c.closes(e, closed+2*each, either...)
	// Two heartbeats count from the first ping that is not answered, which comes within one.
	if took := time.Since(began); took < 2*heartbeat || took > 3*heartbeat+slow {
		t.Errorf("who answers no ping is given up after %v, at a heartbeat of %v", took, heartbeat)
	}
	if n := e.closed(wire.CloseNoPong) - noPong; n < each {
		t.Errorf("%v were given up for no pong, of at least %d", n, each)
	}

	tooSlow := e.closed(wire.CloseTooSlow)
	stuffed.signal(syscall.SIGSTOP)
	c.load.bulk.Store(16 << 10)
	stuffing := time.Now()
	eventually(t, "sockets to be full", func() error {
		_, body := get(e.admin() + "/metrics")
		if n := metric(body, "tidings_edge_lagging_connections"); n < each {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
	c.load.bulk.Store(0)
	c.closes(e, tooSlow+each, wire.CloseTooSlow)
	if took := time.Since(stuffing); took < slow {
		t.Errorf("who takes nothing is given up after %v, at a slow_timeout of %v", took, slow)
	}
	c.settles(e, before)
	if full() {
		c.load.goOnFor(time.Minute)
	}

	mend()
	stopped.signal(syscall.SIGCONT)
	stuffed.signal(syscall.SIGCONT)
	away := time.Since(began)
	c.load.goOn(500)
	h, r := c.verdict(Rules{})
	c.within(r, away+2*heartbeat)
	lost := map[string]bool{}
	for _, ev := range h.Events {
		if ev.What == Disconnected {
			name, _, _ := strings.Cut(ev.Client, "-")
			lost[name] = true
		}
	}
	for _, name := range []string{"cut", "stopped", "stuffed"} {
		if !lost[name] {
			t.Errorf("none of those who were %s noticed", name)
		}
	}
	if lost[string(Library)] || lost[string(Witness)] {
		t.Error("others lost their connections too")
	}
}

// closed is how many connections an edge has closed with some codes.
func (e *edge) closed(codes ...wire.CloseCode) (all float64) {
	e.t.Helper()
	_, body := get(e.admin() + "/metrics")
	for _, code := range codes {
		n := metric(body, fmt.Sprintf("tidings_edge_closes_total{code=%q}", fmt.Sprint(uint16(code))))
		if n < 0 {
			e.t.Fatalf("%s does not count what it closes with %d", e.name, code)
		}
		all += n
	}
	return all
}

// closes waits until it has closed that many.
func (c *cluster) closes(e *edge, n float64, codes ...wire.CloseCode) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s to close connections with %d", e.name, codes), func() error {
		if got := e.closed(codes...); got < n {
			return fmt.Errorf("%v are, of %v", got, n)
		}
		return nil
	})
}

// An edge whose cable is pulled tells nobody: its clients notice that it is silent, and go elsewhere.
func TestEdge_UnpluggedLosesNothing(t *testing.T) {
	c := newCluster(t, plan{})
	e := c.anEdge()
	unplugged := time.Now()
	e.node.unplug()
	pause := 5 * heartbeat // long enough that the edge gives its clients up too
	if full() {
		pause = time.Minute
	}
	c.load.goOnFor(pause)
	e.node.plug()
	plugged := time.Now()
	e.ready()
	c.load.goOn(500)
	h, r := c.verdict(Rules{})
	c.within(r, 4*heartbeat)

	at := map[string]string{}         // which edge a client is at
	silent := map[string]time.Time{}  // since when
	noticed := map[string]time.Time{} // who was at the edge
	moved := 0
	for _, ev := range h.Events {
		when := time.UnixMicro(ev.At)
		switch ev.What {
		case Message:
			if when.Before(unplugged) {
				silent[ev.Client] = when
			}
		case Disconnected:
			if at[ev.Client] != e.name || when.Before(unplugged) || when.After(plugged) {
				break
			}
			noticed[ev.Client] = when
			if took := when.Sub(silent[ev.Client]); took > 2*heartbeat+heartbeat/2 {
				t.Errorf("%s noticed after %v, at a heartbeat of %v: %s", ev.Client, took, heartbeat, ev.Text)
			}
			at[ev.Client] = ""
		case Connected:
			at[ev.Client] = ev.Text
			if since, ok := noticed[ev.Client]; ok && when.Before(plugged) {
				moved++
				delete(noticed, ev.Client)
				if ev.Text == e.name || when.Sub(since) > heartbeat {
					t.Errorf("%s is at %s %v after it noticed", ev.Client, ev.Text, when.Sub(since))
				}
			}
		}
	}
	if moved == 0 || len(noticed) > 0 {
		t.Errorf("%d went elsewhere; these did not: %v", moved, noticed)
	}
	t.Logf("%d clients noticed, and went elsewhere", moved)
}
