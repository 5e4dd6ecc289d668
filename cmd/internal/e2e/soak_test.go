//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/client"
	"tidings/edge/wire"
)

// soaking is how long the test of this file goes on: SOAK in the environment, as in 30m. Without it it is left out.
func soaking(t testing.TB) time.Duration {
	t.Helper()
	if os.Getenv("SOAK") == "" {
		return 0
	}
	d, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Fatalf("SOAK: %v", err)
	}
	return d
}

// Two edges for a long time, with clients that come and go, read slowly or vanish without a word, that are asked to move on all the
// time, and a NATS that is restarted: those who stay miss nothing, and the edges hold no more at the end than at the beginning.
func TestSoak_WithChurnLosesAndKeepsNothing(t *testing.T) {
	lasts := soaking(t)
	if lasts == 0 {
		t.Skip("set SOAK=2m, or as long as you like (make soak)")
	}
	t.Parallel()
	server := bustest.New(t)
	env := []string{"TIDINGS_MAX_CONNECTION_AGE=20s", "TIDINGS_DRAIN_WINDOW=1s", "TIDINGS_DRAIN_GRACE=3s", "TIDINGS_HEARTBEAT=2s",
		"TIDINGS_SLOW_TIMEOUT=3s", "TIDINGS_LINGER=1s", "TIDINGS_STREAM_MAX_PER_TOPIC=1000000"}
	edges := []edge{launchEdge(t, server, env), launchEdge(t, server, env)}
	front := balance(t, address(edges[0].socket), address(edges[1].socket)).address
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	// Those who stay.
	const staying = 20
	steady := make([]*steadyClient, staying)
	for i := range steady {
		steady[i] = follow(t, ctx, &running, "ws://"+front+"/ws", i)
	}
	source := emit(t, server)
	began := time.Now()
	stopChurn := churn(t, ctx, edges, front)
	restarted := false
	warm := min(lasts/4, time.Minute)
	var before [2]holding
	for measured := false; time.Since(began) < lasts; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(time.Second, lasts-time.Since(began))):
		}
		if !measured && time.Since(began) > warm {
			measured = true
			for i, e := range edges {
				before[i] = held(t, e)
			}
		}
		if !restarted && time.Since(began) > lasts/2 {
			restarted = true
			server.Restart()
		}
	}
	came := stopChurn()
	last := source.stop()
	for i, s := range steady {
		eventually(t, fmt.Sprintf("client %d to have all %d", i, last), patience, func() error { return s.reached(last) })
	}
	cancel()
	running.Wait()
	for i, s := range steady {
		if err := s.fault(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	for i, e := range edges {
		// The steady clients have left: what is still there was left behind, but for what the runtime keeps to use again.
		var now holding
		eventually(t, e.socket+" to hold no more than before", patience, func() error {
			now = held(t, e)
			switch b := before[i]; {
			case now.connections != 0:
				return fmt.Errorf("%v connections are open", now.connections)
			case now.files > b.files, now.goroutines > b.goroutines+10, now.memory > b.memory*1.25+16e6:
				return fmt.Errorf("%+v, was %+v", now, b)
			}
			return nil
		})
		t.Logf("%s: at first %v, at the end %v", e.socket, before[i], now)
	}
	t.Logf("%v: %d messages to each of %d clients, %d others came and went", lasts, 3*last, staying, came)
}

// holding is what an edge holds.
type holding struct{ memory, files, goroutines, connections float64 }

func (h holding) String() string {
	return fmt.Sprintf("%.1f MB, %.0f files, %.0f goroutines, %.0f connections", h.memory/1e6, h.files, h.goroutines, h.connections)
}

func held(t testing.TB, e edge) holding {
	t.Helper()
	return holding{metric(t, e.admin, "process_resident_memory_bytes"), metric(t, e.admin, "process_open_fds"), metric(t, e.admin, "go_goroutines"),
		metric(t, e.admin, "tidings_edge_connections")}
}

// steadyClient is a client of ours that follows all `every` topics of the soak and checks that each number comes once, in order.
type steadyClient struct {
	mu   sync.Mutex
	last map[string]int
	err  error
}

func follow(t testing.TB, ctx context.Context, running *sync.WaitGroup, url string, i int) *steadyClient {
	t.Helper()
	s := &steadyClient{last: map[string]int{}}
	c, err := client.New(client.Config{URL: url, BackoffCap: time.Second, Handler: client.Handler{
		Message: s.take,
		Gap:     func(g client.Gap) { s.fail(fmt.Errorf("a gap: %s", g.Raw)) },
		Refused: func(pattern string, err *wire.Error) { s.fail(fmt.Errorf("%s refused: %w", pattern, err)) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range [][]string{{"soak.*", "metrics.*"}, {"soak.a", "soak.b", "soak.c"}, {"soak.>", "soak.a"}}[i%3] {
		if err := c.Subscribe(pattern, client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			s.fail(err)
		}
	})
	eventually(t, "a client to be subscribed", patience, func() error {
		if at, ok := c.Position("soak.a"); ok && at.Epoch != "" {
			return nil
		}
		for _, pattern := range []string{"soak.*", "soak.>"} {
			if at, ok := c.Position(pattern); ok && at.Epoch != "" {
				return nil
			}
		}
		return errors.New("no position yet")
	})
	return s
}

func (s *steadyClient) take(m client.Message) {
	if m.Type != "soak" {
		return
	}
	var p struct{ N int }
	err := json.Unmarshal(m.Payload, &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if due := s.last[m.Topic] + 1; s.err == nil && (err != nil || p.N != due || m.Missed) {
		s.err = fmt.Errorf("number %d of %s was due, and came %.200s", due, m.Topic, m.Raw)
	}
	s.last[m.Topic] = p.N
}

func (s *steadyClient) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}

func (s *steadyClient) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *steadyClient) reached(last int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range []string{"soak.a", "soak.b", "soak.c"} {
		if s.err == nil && s.last[topic] < last {
			return fmt.Errorf("%s is at %d", topic, s.last[topic])
		}
	}
	return nil
}

// emitter publishes numbers on the topics of the soak as a publisher does, which keeps what NATS can't take.
type emitter struct {
	stop func() (last int)
}

func emit(t testing.TB, server *bustest.Server) emitter {
	t.Helper()
	conn := server.Connect(t, func(cfg *bus.Config) { cfg.Stream.MaxPerTopic = 1_000_000 })
	out := conn.NewOutbox(bus.OutboxConfig{MaxEvery: 1_000_000, Grace: patience})
	ctx, cancel := context.WithCancel(context.Background())
	ended, last := make(chan error, 1), make(chan int, 1)
	go func() { ended <- out.Run(ctx) }()
	go func() {
		beat := time.NewTicker(20 * time.Millisecond)
		defer beat.Stop()
		n := 0
		defer func() { last <- n }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
			}
			n++
			for _, topic := range []bus.Topic{"soak.a", "soak.b", "soak.c"} {
				out.Put(topic, fmt.Appendf(nil, `{"n":%d}`, n), bus.PublishOptions{})
			}
			out.Put(bus.Topic(fmt.Sprintf("metrics.h%d", n%100)), fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 400)), bus.PublishOptions{})
		}
	}()
	var once sync.Once
	total := 0
	stop := func() int {
		once.Do(func() {
			cancel()
			total = <-last
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return total
	}
	t.Cleanup(func() { stop() })
	return emitter{stop}
}

// churn has clients come and go until it is stopped: some read and say goodbye, some break off, some stop reading, and some are never
// heard of again.
func churn(t testing.TB, ctx context.Context, edges []edge, front string) (stop func() (came int64)) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var came atomic.Int64
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				topics := []string{"soak.*", "metrics.*", fmt.Sprintf("churn.%d.%d", i, came.Load())}
				m, err := join(front, topics[r.IntN(2):])
				if err != nil {
					t.Errorf("a client could not come: %v", err)
					return
				}
				came.Add(1)
				stay := time.Duration(r.IntN(300)) * time.Millisecond
				switch r.IntN(4) {
				case 0: // it reads
					_ = m.conn.SetReadDeadline(time.Now().Add(stay))
					_, _ = io.Copy(io.Discard, m.conn)
				case 1: // it stops reading
					select {
					case <-ctx.Done():
					case <-time.After(stay):
					}
				case 2: // it is not heard of again, until its connection is broken off by the edge
					running.Go(func() {
						select {
						case <-ctx.Done():
						case <-time.After(10 * time.Second):
						}
						m.conn.Close()
					})
					continue
				}
				m.conn.Close()
			}
		})
	}
	var once sync.Once
	stop = func() int64 {
		once.Do(func() {
			cancel()
			running.Wait()
		})
		return came.Load()
	}
	t.Cleanup(func() { stop() })
	return stop
}
