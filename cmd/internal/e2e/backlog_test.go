//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/bus/bustest"
)

// What an edge holds of a backlog, however long that is, in MB: what it keeps for returning clients (recent_bytes, rereads), what it
// reads at a time, what it holds back meanwhile, what lies in the loops' inboxes, what is due to connections, and 65,536 live messages of
// 1 KB, with headers as large, that wait for the hub while it waits for the loops. The collector lets half as much again be garbage
// (gc_percent).
const (
	recentMB  = 64
	rereadMB  = 32
	readsMB   = 8 * 4
	heldMB    = 64
	inboxesMB = 3 * 8
	duesMB    = 2 * 8
	listenMB  = 64 * 2

	backlogMB = (rereadMB + readsMB + heldMB + inboxesMB + duesMB + listenMB) * 3 / 2
)

// An edge whose line to NATS was cut finds a backlog of messages of 1 KB when it is back, and more may be published meanwhile. Its memory
// grows by a bounded part of that, whether few clients wait for each message or thousands, most of which don't read.
func TestBacklog_OfALongOutageFitsIntoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 2,000,000 deliveries")
	}
	if raceDetector {
		t.Skip("under the race detector memory is not what it is")
	}
	for name, b := range map[string]struct {
		clients, topics, each int // messages of each topic
		missed                int // of these, while the line was cut; the others come when it is mended
		reading               int // clients that read
		most                  float64
	}{
		"of many topics":                {clients: 2000, topics: 200, each: 1000, missed: 1000, reading: 2000, most: backlogMB + recentMB*3/2},
		"for thousands that don't read": {clients: 4000, topics: 1, each: 100_000, missed: 50_000, reading: 3, most: backlogMB},
	} {
		t.Run(name, func(t *testing.T) {
			server := bustest.New(t)
			line := balance(t, address(server.URL()))
			e := launchEdgeAt(t, "nats://"+line.address, command{env: []string{"TIDINGS_STREAM_MAX_PER_TOPIC=1000000",
				"TIDINGS_SLOW_TIMEOUT=10m", "TIDINGS_HEARTBEAT=10m"}}) // no member of a crowd answers pings
			topic := func(i int) string { return fmt.Sprintf("orders.t%d", i%b.topics) }
			all := gather(t, e.socket, b.clients, func(i int) []string { return []string{topic(i)} })
			line.cut()
			eventually(t, "the edge to notice", patience, func() error {
				if got := metric(t, e.admin, "tidings_bus_connected"); got != 0 {
					return fmt.Errorf("it says %v", got)
				}
				return nil
			})
			pad := strings.Repeat("x", 1000)
			message := func(i int) (string, string) {
				return topic(i), fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i/b.topics+1, pad)
			}
			store(t, server, 0, b.topics*b.missed, message)

			memory := watch(t, e)
			began := time.Now()
			line.mend()
			var readers sync.WaitGroup
			for i, one := range all[:b.reading] {
				readers.Go(func() {
					if err := one.expect(b.each, time.Now().Add(3*patience)); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			store(t, server, b.topics*b.missed, b.topics*b.each, message)
			readers.Wait()
			if slow := all[len(all)-1]; b.reading < len(all) { // it begins to read now
				if err := slow.expect(b.each, time.Now().Add(3*patience)); err != nil {
					t.Errorf("a slow client: %v", err)
				}
			}
			before, most := memory()
			t.Logf("%d clients had %d messages each after %v; the edge took %.0f MB before, and %.0f MB at most, of %.0f", b.reading, b.each,
				time.Since(began).Round(time.Millisecond), before/1e6, most/1e6, before/1e6+b.most)
			if most > before+b.most*1e6 {
				t.Errorf("the edge's memory grew from %.0f to %.0f MB", before/1e6, most/1e6)
			}
		})
	}
}

// store publishes the messages from one to another to the stream, and waits until it has all of them.
func store(t testing.TB, server *bustest.Server, from, to int, message func(i int) (topic, payload string)) {
	t.Helper()
	js, err := line(t, server).JetStream(nats.PublishAsyncMaxPending(512))
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		topic, payload := message(i)
		if _, err := js.PublishAsync("tidings.pub."+topic, []byte(payload), nats.StallWait(patience)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	select { // at once where nothing was published
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("not all was acknowledged")
	}
}

// watch looks at an edge's memory, in bytes of RSS, until it is asked what there was before and at most.
func watch(t testing.TB, e edge) (end func() (before, most float64)) {
	t.Helper()
	rss := func() float64 { return metric(t, e.admin, "process_resident_memory_bytes") }
	before := rss()
	most := before
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				most = max(most, rss())
			}
		}
	}()
	var once sync.Once
	stop := func() {
		once.Do(func() { close(quit) })
		<-ended
	}
	t.Cleanup(stop)
	return func() (float64, float64) {
		stop()
		return before, most
	}
}
