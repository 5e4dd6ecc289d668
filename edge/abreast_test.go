package edge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"tidings/bus"
	"tidings/bus/bustest"
)

// crew is a hub and its loops, which do nothing but what a test has them do.
type crew struct {
	t     *testing.T
	hub   *hub
	loops []*loop
	woken chan struct{} // something was left for a loop

	seqs  []uint64 // of the frames that the first loop found in its inbox
	bytes int
}

func newCrew(t *testing.T, b *bus.Conn, loops int) *crew {
	c := &crew{t: t, hub: set(t).loop.node.hub, woken: make(chan struct{}, 1)}
	c.hub.bus = b
	for range loops {
		l := set(t).loop
		l.index, l.node.hub = len(c.loops), c.hub
		l.inbox.wake = func() {
			select {
			case c.woken <- struct{}{}:
			default:
			}
		}
		c.loops = append(c.loops, l)
	}
	c.hub.mail.take() // what the stages asked for
	c.hub.loops = c.loops
	return c
}

// turn has a loop do what its inbox says.
func (c *crew) turn(l *loop) {
	for _, it := range l.inbox.take(nil) {
		switch {
		case it.do != nil:
			it.do(l)
		case l.index == 0:
			c.seqs = append(c.seqs, it.frame.seq)
			c.bytes += len(it.frame.wire)
		}
	}
}

// post has the hub read its mail.
func (c *crew) post() {
	for _, do := range c.hub.mail.take() {
		do()
	}
}

// waits are how often the hub has waited, and how often it has done with that.
func (c *crew) waits() (begun float64, ended uint64) {
	var m dto.Metric
	if err := c.hub.metrics.hubWait.(prometheus.Metric).Write(&m); err != nil {
		c.t.Fatal(err)
	}
	return testutil.ToFloat64(c.hub.metrics.hubWaits), m.Histogram.GetSampleCount()
}

// serve runs the hub, with a listener of a size, until the test ends, and has the first loop want all orders.
func (c *crew) serve(room int) {
	c.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	h := c.hub
	h.begin(ctx)
	h.listener.Close()
	h.listener = h.bus.Listen(room)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.run()
	}()
	c.t.Cleanup(func() {
		stop()
		<-ended
	})
	f := c.loops[0].feed("orders.*")
	c.until("the feed is granted", func() bool {
		c.turn(c.loops[0])
		return f.open
	})
}

// look asks something of the hub, on its goroutine.
func (c *crew) look(is func(*hub) bool) bool {
	c.t.Helper()
	answer := make(chan bool, 1)
	c.hub.mail.put(func() { answer <- is(c.hub) })
	select {
	case yes := <-answer:
		return yes
	case <-time.After(10 * time.Second):
		c.t.Fatal("the hub does not read its mail")
		return false
	}
}

// until waits, for things left for the loops or for a while, until something is so.
func (c *crew) until(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(deadline) {
			c.t.Fatalf("not so: %s; %d frames came", what, len(c.seqs))
		}
		select {
		case <-c.woken:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A hub that waits has left as much with the loops as it may, by their number or their bytes. It goes on when all loops have come nearer,
// also those that want nothing of it, and waits again after half as much.
func TestHub_WaitsForLoopsThatAreFarBehind(t *testing.T) {
	for name, b := range map[string]struct{ frames, size int }{
		"frames": {aheadFrames, 10},
		"bytes":  {8, aheadBytes / 8},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrew(t, nil, 2)
			of := &topic{name: "orders.a", loops: c.loops[0].bit()}
			f := &frame{topic: of, wire: make([]byte, b.size)}
			pass := func() (frames int) {
				for !c.hub.ahead() {
					c.hub.dispatch(of, f)
					frames++
				}
				return frames
			}
			if got := pass(); got != 2*b.frames {
				t.Errorf("it waits after %d frames, want %d", got, 2*b.frames)
			}
			var order []string
			for _, name := range []string{"first", "second"} {
				c.hub.whenTaken(func() { order = append(order, name) })
			}
			c.turn(c.loops[0])
			c.post()
			if begun, ended := c.waits(); !c.hub.ahead() || len(order) > 0 || begun != 1 || ended != 0 {
				t.Errorf("with one loop abreast of two: it waits %v, did %q, counted %v and %v", c.hub.ahead(), order, begun, ended)
			}
			c.turn(c.loops[1])
			c.post()
			if begun, ended := c.waits(); c.hub.ahead() || fmt.Sprint(order) != "[first second]" || begun != 1 || ended != 1 {
				t.Errorf("with both abreast: it waits %v, did %q, counted %v and %v", c.hub.ahead(), order, begun, ended)
			}
			if got := pass(); got != b.frames {
				t.Errorf("it waits again after %d frames, want %d", got, b.frames)
			}
			for range 3 { // calls come back, and no more are sent than have to be
				c.turn(c.loops[0])
				c.turn(c.loops[1])
				c.post()
			}
			if begun, ended := c.waits(); c.hub.ahead() || c.hub.abreast.away != 0 || begun != 2 || ended != 2 || len(order) != 2 {
				t.Errorf("in the end: it waits %v for %d, did %q, counted %v and %v", c.hub.ahead(), c.hub.abreast.away, order, begun, ended)
			}
			if got := len(c.seqs); got != 3*b.frames {
				t.Errorf("%d frames came, want %d", got, 3*b.frames)
			}
		})
	}
}

// A hub without loops has nobody to wait for.
func TestHub_WithoutLoops_DoesNotWait(t *testing.T) {
	c := newCrew(t, nil, 0)
	for range 3 * aheadFrames {
		c.hub.left(&frame{})
	}
	done := false
	if c.hub.whenTaken(func() { done = true }); c.hub.ahead() || !done {
		t.Error("it waits")
	}
}

// While the hub waits, it takes nothing more from NATS, and reads nothing, but does all else: mail, a line that breaks, drops of its
// listener. What came meanwhile arrives when the loops are abreast, all of it and in order.
func TestHub_ThatWaits_LosesNothingAndServes(t *testing.T) {
	payload := []byte(`"` + strings.Repeat("x", 256<<10) + `"`)
	const few = 20
	many := listenBytes/len(payload) + few
	for name, test := range map[string]struct {
		more    int  // messages come while it waits
		room    int  // of the listener, in messages
		takesIn bool // what is in the listener, so that more than is allowed lies in the inboxes
		happens func(*crew, *bustest.Server)
	}{
		"in the listener": {more: few, room: listenCapacity, happens: func(*crew, *bustest.Server) {}},
		"of which most was dropped": {more: few, room: few / 4, happens: func(c *crew, _ *bustest.Server) {
			c.until("a repair waits, and what the listener had is held back", func() bool {
				return c.look(func(h *hub) bool { return h.repairing && h.abreast.asked == 1 && len(h.held) > 0 })
			})
		}},
		"of which there is more than fits": {more: many, room: listenCapacity, happens: func(c *crew, _ *bustest.Server) {
			c.until("a repair waits, and what the listener had is held back, or was let go", func() bool {
				return c.look(func(h *hub) bool { return h.repairing && h.abreast.asked == 1 && len(h.listener.C()) == 0 && h.again })
			})
			c.look(func(h *hub) bool {
				if h.heldBytes > heldBytes+len(payload) {
					t.Errorf("%d bytes are held back", h.heldBytes)
				}
				return true
			})
		}},
		"before the line broke": {more: few, room: listenCapacity, takesIn: true, happens: func(c *crew, server *bustest.Server) {
			server.Stop()
			c.until("the hub notices", func() bool { return c.look(func(h *hub) bool { return h.degraded }) })
			server.Restart()
			c.until("a repair waits", func() bool {
				return c.look(func(h *hub) bool { return h.repairing && h.abreast.asked == 1 })
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := bustest.New(t)
			b := server.Connect(t)
			c := newCrew(t, b, 2)
			c.serve(test.room)
			var want []uint64
			publish := func() {
				seq, err := b.Publish(t.Context(), "orders.a", payload, bus.PublishOptions{})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, seq)
			}
			waits := func() bool { return c.look((*hub).ahead) }
			for !waits() {
				if publish(); len(want)*len(payload) > 3*aheadBytes {
					c.until("the hub waits", waits)
				}
			}
			for range test.more {
				publish()
			}
			test.happens(c, server)
			if !waits() {
				t.Error("it waits no more, and no loop has done anything")
			}
			if !test.takesIn {
				c.loops[0].inbox.mu.Lock()
				held := len(c.loops[0].inbox.items)
				c.loops[0].inbox.mu.Unlock()
				if most := 2*aheadBytes/len(payload) + 3; held > most { // two calls among them
					t.Errorf("%d items lie in the inbox, want at most %d", held, most)
				}
			}
			c.until("all came", func() bool {
				c.turn(c.loops[0])
				c.turn(c.loops[1])
				return len(c.seqs) >= len(want)
			})
			if !slices.Equal(c.seqs, want) {
				t.Errorf("got %d messages %v, want %d %v", len(c.seqs), c.seqs, len(want), want)
			}
			c.until("all calls are back", func() bool {
				c.turn(c.loops[0])
				c.turn(c.loops[1])
				return c.look(func(h *hub) bool { return !h.ahead() && !h.holds() && h.abreast.away == 0 })
			})
		})
	}
}

// A hub that waits for ever can be stopped.
func TestHub_ThatWaits_CanBeStopped(t *testing.T) {
	c := newCrew(t, bustest.New(t).Connect(t), 1)
	c.serve(1)
	if !c.look(func(h *hub) bool {
		for !h.ahead() {
			h.left(&frame{wire: make([]byte, aheadBytes)})
		}
		h.repair("a test", h.roots(), 0)
		return h.abreast.asked == 1
	}) {
		t.Error("a repair does not wait")
	}
}

// Whether it waits or reads: a repair that began before the stream was made anew has a place of the old one, from which nothing is to be
// read of the new one.
func TestRepair_OfAStreamThatWasMadeAnewMeanwhile_BeginsAnew(t *testing.T) {
	for _, waits := range []bool{false, true} {
		t.Run(fmt.Sprintf("waits=%v", waits), func(t *testing.T) {
			b := bustest.New(t).Connect(t)
			c := newCrew(t, b, 1)
			c.serve(listenCapacity)
			var want []uint64
			for range 5 {
				seq, err := b.Publish(t.Context(), "orders.a", []byte(`1`), bus.PublishOptions{})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, seq)
			}
			c.until("all came", func() bool {
				c.turn(c.loops[0])
				return len(c.seqs) == len(want)
			})
			c.seqs = nil
			began := make(chan struct{})
			c.hub.mail.put(func() {
				defer close(began)
				h := c.hub
				epoch := h.epoch
				h.epoch, h.proven = "old", h.up
				for waits && !h.ahead() {
					h.left(&frame{wire: make([]byte, aheadBytes)})
				}
				h.repair("a test", h.roots(), want[2])
				h.setEpoch(epoch)
				h.repair("the stream was made anew", h.roots(), 0) // as whoever notices does
			})
			<-began
			c.until("the repair has ended", func() bool {
				c.turn(c.loops[0])
				return c.look(func(h *hub) bool { return !h.repairing })
			})
			c.turn(c.loops[0])
			got := slices.DeleteFunc(c.seqs, func(seq uint64) bool { return seq == 0 }) // gaps of the old stream
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
