//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/bus/bustest"
)

// These have the machine for themselves, as far as this package's tests go: they are not parallel.

func TestLoad_TenThousandIdleClientsCostNoGoroutineAndLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10,000 connections")
	}
	if raceDetector {
		t.Skip("under the race detector memory is not what it is")
	}
	// It takes 900 bytes a client; the rest is room for what the collector has not come to yet.
	const clients, most = 10_000, 14e6
	server := bustest.New(t)
	e := startEdge(t, server, "--name", "crowded")
	// What any first client makes an edge do is not the cost of ten thousand.
	first := dial(t, e.socket)
	first.subscribe("idle.first")
	emptyBytes := metric(t, e.admin, "process_resident_memory_bytes")
	emptyGoroutines := metric(t, e.admin, "go_goroutines")

	began := time.Now()
	all := gather(t, e.socket, clients, func(i int) (topics []string) {
		for k := range 5 {
			topics = append(topics, fmt.Sprintf("idle.%d", (i+k)%100))
		}
		return topics
	})
	took := time.Since(began)
	if got := metric(t, e.admin, "tidings_edge_connections"); got != clients+1 {
		t.Errorf("%v connections", got)
	}
	if got := metric(t, e.admin, "tidings_edge_subscriptions"); got != 5*clients+1 {
		t.Errorf("%v subscriptions", got)
	}
	if more := metric(t, e.admin, "go_goroutines") - emptyGoroutines; more > 20 {
		t.Errorf("%d connections cost %v goroutines", clients, more)
	}
	bytes := func() float64 { return metric(t, e.admin, "process_resident_memory_bytes") - emptyBytes }
	t.Logf("%d clients came in %v and cost %.1f MB", clients, took.Round(time.Millisecond), bytes()/1e6)
	eventually(t, "the memory of the edge to be little", patience, func() error {
		if more := bytes(); more > most {
			return fmt.Errorf("%d connections cost %.1f MB", clients, more/1e6)
		}
		return nil
	})

	// And each of them is served.
	conn := line(t, server)
	for topic := range 100 {
		publish(t, conn, fmt.Sprintf("idle.%d", topic), `{"n":1,"m":0}`)
	}
	var readers sync.WaitGroup
	for i := 0; i < clients; i += 100 {
		readers.Go(func() {
			if err := all[i].expect(1, time.Now().Add(patience)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	readers.Wait()
}

func TestLoad_AThousandClientsGetAllInOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 1,500,000 deliveries")
	}
	const clients, rate, size = 1000, 300, 512
	messages := 5 * rate
	if raceDetector {
		messages /= 10
	}
	server := bustest.New(t)
	// Clients that a busy machine keeps from reading are refilled from the stream, however far they fall behind.
	e := launchEdge(t, server, []string{"TIDINGS_STREAM_MAX_PER_TOPIC=100000"})
	all := gather(t, e.socket, clients, func(int) []string { return []string{"load.all"} })

	result := make(chan error, clients)
	began := time.Now()
	for i, m := range all {
		go func() {
			if err := m.expect(messages, began.Add(2*patience)); err != nil {
				result <- fmt.Errorf("client %d: %w", i, err)
				return
			}
			result <- nil
		}()
	}
	conn := line(t, server)
	pad := strings.Repeat("x", size-len(`{"n":1000,"pad":""}`))
	beat := time.NewTicker(time.Second / rate)
	defer beat.Stop()
	for n := 1; n <= messages; n++ {
		if err := conn.Publish("tidings.pub.load.all", fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, pad)); err != nil {
			t.Fatal(err)
		}
		// After a pause the ones that were due meanwhile follow at once.
		if ahead := began.Add(time.Duration(n) * time.Second / rate); time.Now().Before(ahead) {
			<-beat.C
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	published := time.Since(began)
	for range clients {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	took := time.Since(began)
	t.Logf("published %d messages in %v; %d deliveries of %d bytes in %v: %.0f per second", messages, published.Round(time.Millisecond),
		messages*clients, size, took.Round(time.Millisecond), float64(messages*clients)/took.Seconds())
	if got := metric(t, e.admin, "tidings_edge_deliveries_total"); got < float64(messages*clients) {
		t.Errorf("the edge counted %v deliveries", got)
	}
	if got := metric(t, e.admin, "tidings_edge_nats_messages_total"); got != float64(messages) {
		t.Errorf("the edge took %v messages from NATS", got)
	}
	if _, body := get(t, e.admin+"/metrics"); !strings.Contains(body, `tidings_edge_gaps_total{reason="slow"} 0`) {
		t.Error("there were gaps")
	}
}

// What a message to many clients costs is to be its writes. A system call on its way of which Go's scheduler is told would wake the
// runtime's monitor, which then wakes up some 40 times until the last client has it.
func TestLoad_AMessageWakesFewThreads(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 1,000 connections")
	}
	if raceDetector {
		t.Skip("under the race detector nothing takes the time it does")
	}
	const clients, messages, most = 1000, 50, 25
	server := bustest.New(t)
	e := startEdge(t, server)
	all := gather(t, e.socket, clients, func(int) []string { return []string{"load.few"} })
	conn := line(t, server)
	before := wakeups(t, e.process.Pid)
	beat := time.NewTicker(50 * time.Millisecond) // in between all is idle
	defer beat.Stop()
	for n := 1; n <= messages; n++ {
		<-beat.C
		publish(t, conn, "load.few", fmt.Sprintf(`{"n":%d,"m":0}`, n))
	}
	for i, m := range all {
		if err := m.expect(messages, time.Now().Add(patience)); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	per := float64(wakeups(t, e.process.Pid)-before) / messages
	t.Logf("%.1f wake-ups for a message to %d clients", per, clients)
	if per > most {
		t.Errorf("%.1f wake-ups for a message, where 10 are enough", per)
	}
}

// wakeups is how often the threads of a process have gone to sleep by themselves.
func wakeups(t testing.TB, pid int) (n int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has %d threads: %v", pid, len(threads), err)
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		of, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n += of
	}
	return n
}
