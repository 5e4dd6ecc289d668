//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/bus/bustest"
)

// An edge that may open 200 files takes in as many clients as leave enough for all else: those who come then are refused, and
// nobody else feels it.
func TestEdge_WithFewDescriptorsRefusesNewClientsAlone(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	const places = 100 // half of them, where there are so few
	e := launchEdgeBy(t, server, command{files: 200})
	inside := gather(t, e.socket, places-1, func(int) []string { return []string{"demo.numbers"} }) // /metrics is asked by others
	last := dial(t, e.socket)
	last.subscribe("demo.numbers")
	for range 150 { // more than there are descriptors left
		status, body := get(t, "http"+strings.TrimPrefix(e.socket, "ws"))
		if status != 503 || !strings.Contains(body, `"unavailable"`) {
			t.Fatalf("who came when there was no place was answered %d %s", status, body)
		}
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		if status, body := get(t, e.admin+path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	// NATS has to be dialled again, which takes a descriptor.
	server.Restart()
	ready(t, e.admin)
	publish(t, line(t, server), "demo.numbers", `{"n":1,"m":0}`)
	last.await("demo.numbers", "number 1", atLeast(t, 1))
	last.close()
	eventually(t, "a place to be free again", patience, func() error {
		if status, body := get(t, "http"+strings.TrimPrefix(e.socket, "ws")); status != 426 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if got := metric(t, e.admin, "tidings_edge_connections"); got != float64(len(inside)) {
		t.Errorf("%v connections are open", got)
	}
}

// An edge that may use 24 MiB takes in clients until the collector would have to run all the time. Who comes then is refused, those
// that are inside miss nothing and cost no more than before, and when some have left there is a place again.
func TestEdge_WithLittleMemoryRefusesNewClientsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some thousand connections")
	}
	if raceDetector {
		t.Skip("under the race detector memory is not what it is")
	}
	server := bustest.New(t)
	e := launchEdgeBy(t, server, command{env: []string{"GOMEMLIMIT=24MiB", "TIDINGS_LINGER=1s", "TIDINGS_HEARTBEAT=10m"}}) // no member of a crowd answers pings
	door := "http" + strings.TrimPrefix(e.socket, "ws")
	inside := make([]*socket, 20)
	for i := range inside {
		inside[i] = dial(t, e.socket)
		inside[i].subscribe("demo.numbers")
	}
	stop := counting(t, server, "demo.numbers", 10*time.Millisecond)

	crowd := crush(t, e.socket)
	if len(crowd) < 1500 {
		t.Errorf("it took in %d only", len(crowd))
	}
	response, err := strangers.Get(door)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("who came when there was no room was answered %d %v", response.StatusCode, response.Header)
	}
	// Five seconds of messages later, with others at the door all the time.
	began, cpu := time.Now(), metric(t, e.admin, "process_cpu_seconds_total")
	numbers := inside[0].of("demo.numbers")
	from, refused := number(t, numbers[len(numbers)-1]), 0
	for n := from; n < from+500; n += 10 {
		inside[0].await("demo.numbers", "the numbers to go on", atLeast(t, n))
		switch status, body := get(t, door); status {
		case 503:
			refused++
		case 426:
		default:
			t.Fatalf("a newcomer was answered %d %s", status, body)
		}
	}
	took := time.Since(began)
	used := (metric(t, e.admin, "process_cpu_seconds_total") - cpu) / took.Seconds()
	t.Logf("%d clients came in; of 50 that came in the %v after that %d were refused, and the edge used %.0f%% of a core",
		len(crowd), took.Round(time.Millisecond), refused, 100*used)
	if refused < 45 {
		t.Errorf("of 50 newcomers %d were refused", refused)
	}
	if used > 0.5 {
		t.Errorf("the edge used %.0f%% of a core", 100*used)
	}

	crowd.leave()
	eventually(t, "places to be free again", patience, func() error {
		if status, body := get(t, door); status != 426 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	gather(t, e.socket, 100, func(i int) []string { return []string{fmt.Sprintf("own.later-%d", i)} })
	last := stop()
	for _, s := range inside {
		s.await("demo.numbers", "the last number", atLeast(t, last))
		all := s.of("demo.numbers")
		chained(t, all)
		if len(all) != last || len(s.of("gap")) > 0 {
			t.Errorf("%d of %d numbers came, and %d gaps", len(all), last, len(s.of("gap")))
		}
	}
}

// crush has clients with five topics of their own come to an edge until it refuses one.
func crush(t *testing.T, edge string) (inside crowd) {
	t.Helper()
	const most, doors = 10_000, 4
	var mu sync.Mutex
	t.Cleanup(func() { inside.leave() })
	var coming sync.WaitGroup
	for door := range doors {
		coming.Go(func() {
			for i := range most / doors {
				var topics []string
				for k := range 5 {
					topics = append(topics, fmt.Sprintf("own.%d-%d-%d", door, i, k))
				}
				m, err := join(address(edge), topics)
				if err != nil {
					if !strings.Contains(err.Error(), "503") {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				inside = append(inside, m)
				mu.Unlock()
			}
			t.Errorf("%d came in, and nobody was refused", most)
		})
	}
	coming.Wait()
	return inside
}
