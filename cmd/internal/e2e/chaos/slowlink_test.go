//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
)

// A modem's line, and what makes a value old that comes over it.
const (
	modemRate  = 56_000        // bit/s
	modemSpeed = modemRate / 8 // bytes/s
	modemQueue = 8 << 10       // bytes that wait before it; more are lost, which is how TCP learns of its speed

	// When the edge chooses a value it is up to a beat old; the kernel has less than 2 KiB left to send, and gets 2 KiB more
	// (TCP_NOTSENT_LOWAT, edge/lag.go); and what it sends waits in the line's queue.
	modemBeat    = time.Second
	modemUnsent  = 4 << 10 * time.Second / modemSpeed
	modemWaiting = modemQueue * time.Second / modemSpeed
	modemAge     = modemBeat + modemUnsent + modemWaiting // 2.8 s

	// What comes behind a lost packet waits until that was sent anew, and most of TCP's patience is two ways through the queue. A packet
	// may be lost twice.
	modemOldest = modemAge + 4*modemWaiting // 7.4 s
)

// A client behind a modem follows 200 values that change each second, five times what its line carries: it gets as many as that,
// each topic in its turn, and none of them older than it takes to bring it. The edge's memory does not grow by it.
func TestSlowLink_GetsValuesAsNewAsItAllows(t *testing.T) {
	scene(t)
	const topics = 200
	lasts := slowLinkLasts(t)
	n := newNetwork(t)
	server := newNATS(t, []*node{n.add("nats-1", 11)})
	server[0].start()
	server[0].healthy()
	e := &edge{node: n.add("edge-1", 21), path: built(t, "edge"), nats: server[0].url(), more: []string{"TIDINGS_STREAM_REPLICAS=1", "TIDINGS_HEARTBEAT=25s"}}
	e.start()
	e.ready()
	modem := n.add("modem", 51)
	modem.narrow(modemRate, modemQueue)

	conn := line(t, server)
	publishValues(t, conn, topics, 0)
	seen := follow(t, modem, "ws://"+e.node.address+":8080/ws")
	began := time.Now()
	warm := lasts / 3 // until then what is needed once is there
	tick := time.NewTicker(modemBeat)
	defer tick.Stop()
	var before, most footprint
	for round := 1; time.Since(began) < lasts; round++ {
		publishValues(t, conn, topics, round)
		<-tick.C
		now := e.footprint()
		if time.Since(began) < warm {
			before = before.orMore(now)
		}
		most = most.orMore(now)
	}
	f := seen(began.Add(warm))
	t.Logf("%v of %d bytes each: %v; of which %v explain the median and %v the oldest; the edge had %v, and %v at most", lasts, f.bytes/f.values, f, modemAge, modemOldest, before, most)

	if f.topics < topics {
		t.Errorf("of %d topics came values of %d", topics, f.topics)
	}
	if got := f.ages[len(f.ages)/2]; got > modemAge {
		t.Errorf("half of the values were older than %v when they came", got)
	}
	if got := f.ages[len(f.ages)-1]; got > modemOldest {
		t.Errorf("a value was %v old when it came", got)
	}
	if cycle := time.Duration(topics*f.bytes/f.values) * time.Second / modemSpeed; f.longest > 2*cycle+modemOldest {
		t.Errorf("a topic had no value for %v; all of them take %v", f.longest, cycle)
	}
	if got := float64(f.bytes) / (lasts - warm).Seconds(); got < 0.7*modemSpeed {
		t.Errorf("the line was not used: %.0f bytes/s", got)
	}
	if most.heap > before.heap+3e6 || most.resident > before.resident+4e6 {
		t.Errorf("the edge's memory grew from %v to %v", before, most)
	}
}

// footprint is an edge's memory in bytes.
type footprint struct{ heap, resident float64 }

func (f footprint) orMore(g footprint) footprint {
	return footprint{max(f.heap, g.heap), max(f.resident, g.resident)}
}

func (f footprint) String() string {
	return fmt.Sprintf("%.1f MB of heap in %.1f MB", f.heap/1e6, f.resident/1e6)
}

// footprint reads the memory of an edge, without what it has dropped.
func (e *edge) footprint() footprint {
	e.t.Helper()
	page := e.measured()
	return footprint{metric(page, "go_memstats_heap_inuse_bytes"), metric(page, "process_resident_memory_bytes")}
}

// slowLinkLasts is ten minutes in a soak that has room for them (SOAK=30m).
func slowLinkLasts(t testing.TB) time.Duration {
	t.Helper()
	if text := os.Getenv("SOAK"); text != "" {
		soak, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("SOAK: %v", err)
		}
		if soak >= 10*time.Minute {
			return 10 * time.Minute
		}
	}
	return 45 * time.Second
}

// publishValues publishes the next value of each topic, as publishers do each second.
func publishValues(t testing.TB, conn *nats.Conn, topics, round int) {
	t.Helper()
	pad := strings.Repeat("x", 60)
	for i := range topics {
		if err := conn.Publish(fmt.Sprintf("tidings.pub.metrics.h%d", i), fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, round, pad)); err != nil {
			t.Fatal(err)
		}
	}
}

// followed is what came over a slow line.
type followed struct {
	values  int
	bytes   int
	ages    []time.Duration // of values on their arrival, sorted
	longest time.Duration   // without a value of some topic
	topics  int
}

func (f followed) String() string {
	const ms = time.Millisecond
	return fmt.Sprintf("%d values of %d topics; age: median %v, 99%% %v, oldest %v; a topic came at least every %v", f.values, f.topics,
		f.ages[len(f.ages)/2].Round(ms), f.ages[len(f.ages)*99/100].Round(ms), f.ages[len(f.ages)-1].Round(ms), f.longest.Round(ms))
}

// follow subscribes from a node to all metrics, and keeps what comes until it is asked for what came since.
func follow(t testing.TB, from *node, url string) func(since time.Time) followed {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{DialContext: from.dial}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"tidings.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(8 << 20)
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"subscribe","id":1,"topics":["metrics.*"]}`)); err != nil {
		t.Fatal(err)
	}
	type value struct {
		topic       string
		bytes       int
		sent, there time.Time
	}
	var values []value
	ended := make(chan error, 1)
	go func() {
		for {
			_, text, err := conn.Read(ctx)
			if err != nil {
				ended <- err
				return
			}
			var m struct {
				Type, Topic string
				Timestamp   int64
			}
			if err := json.Unmarshal(text, &m); err != nil {
				ended <- err
				return
			}
			if m.Type == "metrics" {
				values = append(values, value{m.Topic, len(text), time.UnixMilli(m.Timestamp), time.Now()})
			}
		}
	}()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-ended; ctx.Err() == nil {
				t.Error(err)
			}
			_ = conn.CloseNow()
			transport.CloseIdleConnections()
		}
	}
	t.Cleanup(stop)
	return func(since time.Time) (f followed) {
		stop()
		last := map[string]time.Time{}
		for _, v := range values {
			if v.there.Before(since) {
				continue
			}
			f.values++
			f.bytes += v.bytes
			f.ages = append(f.ages, v.there.Sub(v.sent))
			if before, ok := last[v.topic]; ok {
				f.longest = max(f.longest, v.there.Sub(before))
			}
			last[v.topic] = v.there
		}
		f.topics = len(last)
		slices.Sort(f.ages)
		if f.values == 0 {
			t.Fatal("no value came")
		}
		return f
	}
}
