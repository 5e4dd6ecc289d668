//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/bus/bustest"
)

// A client behind a modem follows 200 values that change each second, five times what its line carries: it gets as many as that,
// each topic in its turn, and none of them older than it takes to bring it. The edge's memory does not grow by it.
func TestSlowLink_GetsValuesAsNewAsItAllows(t *testing.T) {
	if testing.Short() {
		t.Skip("follows values for half a minute")
	}
	t.Parallel()
	const topics, rate = 200, 56_000 / 8 // bytes/s
	lasts := 30 * time.Second
	if soak := soaking(t); soak > 0 {
		lasts = min(soak, 10*time.Minute)
	}
	server := bustest.New(t)
	e := startEdge(t, server)
	conn := line(t, server)
	pad := strings.Repeat("x", 60)
	value := func(round int) {
		for i := range topics {
			if err := conn.Publish(fmt.Sprintf("tidings.pub.metrics.h%d", i), fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, round, pad)); err != nil {
				t.Error(err)
			}
		}
	}
	value(0)
	slow := dial(t, "ws://"+modem(t, address(e.socket), rate)+"/ws")
	slow.subscribe("metrics.*")
	began := time.Now()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	memory := metric(t, e.admin, "process_resident_memory_bytes")
	for round := 1; time.Since(began) < lasts; round++ {
		value(round)
		<-beat.C
		if time.Since(began) < lasts/3 { // until then what is needed once is there
			memory = metric(t, e.admin, "process_resident_memory_bytes")
		}
	}
	grown := metric(t, e.admin, "process_resident_memory_bytes") - memory

	// What is on its way fills the edge's socket and the modem; a frame may wait for all of that, and the newest was up to a second
	// old when it was chosen.
	const onItsWay = 64 << 10 // bytes: what the edge leaves unsent, one write, and the kernel's buffers
	oldest := onItsWay/rate*time.Second + time.Second
	var ages []time.Duration
	var bytes int
	last := map[string]time.Time{}
	var longest time.Duration // without news of a topic
	slow.mu.Lock()
	defer slow.mu.Unlock()
	for _, m := range slow.seen {
		bytes += len(m.raw)
		if m.Type != "metrics" || m.arrived.Sub(began) < lasts/3 {
			continue
		}
		ages = append(ages, m.arrived.Sub(time.UnixMilli(m.Timestamp)))
		if before, ok := last[m.Topic]; ok {
			longest = max(longest, m.arrived.Sub(before))
		}
		last[m.Topic] = m.arrived
	}
	slices.Sort(ages)
	if len(last) < topics {
		t.Fatalf("of %d topics came values of %d", topics, len(last))
	}
	cycle := time.Duration(topics) * time.Duration(bytes/len(slow.seen)) * time.Second / rate
	t.Logf("%d values in %v; age: median %v, oldest %v; a topic came at least every %v, all of them take %v; memory grew by %.1f MB", len(ages), lasts,
		ages[len(ages)/2].Round(time.Millisecond), ages[len(ages)-1].Round(time.Millisecond), longest.Round(time.Millisecond), cycle.Round(time.Millisecond), grown/1e6)
	if got := ages[len(ages)-1]; got > oldest {
		t.Errorf("a value was %v old when it came; the line explains %v", got, oldest)
	}
	if longest > 2*cycle+oldest {
		t.Errorf("a topic had no news for %v", longest)
	}
	if grown > 10e6 {
		t.Errorf("the edge's memory grew by %.1f MB", grown/1e6)
	}
	if got := float64(bytes) / time.Since(began).Seconds(); got < rate/2 {
		t.Errorf("the line was not used: %.0f bytes/s", got)
	}
}

// modem is a line to target that carries so many bytes a second towards who dials it, and buffers hardly any.
func modem(t testing.TB, target string, rate int) (front string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	narrow := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400) // the loopback's of 64 KB would open a small window in fits
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10)
		})
	}}
	var running sync.WaitGroup
	var near, far net.Conn
	running.Go(func() {
		if near, err = l.Accept(); err != nil {
			return
		}
		if far, err = narrow.Dial("tcp", target); err != nil {
			near.Close()
			return
		}
		running.Go(func() {
			_, _ = io.Copy(far, near)
			far.Close()
		})
		const slice = 50 * time.Millisecond
		pace := time.NewTicker(slice)
		defer pace.Stop()
		defer near.Close()
		piece := make([]byte, rate*int(slice/time.Millisecond)/1000)
		for {
			n, err := far.Read(piece)
			if err != nil {
				return
			}
			if _, err := near.Write(piece[:n]); err != nil {
				return
			}
			<-pace.C
		}
	})
	t.Cleanup(func() {
		l.Close()
		for _, c := range []net.Conn{near, far} {
			if c != nil {
				c.Close()
			}
		}
		running.Wait()
	})
	return l.Addr().String()
}
