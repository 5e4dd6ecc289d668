package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/edge"
)

func TestRun_DeliversEverything(t *testing.T) {
	x := newTarget(t)
	for _, c := range []struct {
		name       string
		scenario   Scenario
		deliveries int64 // of a second
	}{
		{"one topic", Scenario{Clients: 20, Rate: 100}, 2000},
		{"bursts over many topics", Scenario{Clients: 10, Topics: 20, Subscriptions: 20, Rate: 200, Burst: 20}, 2000},
		{"some topics each", Scenario{Clients: 20, Topics: 10, Subscriptions: 3, Rate: 200}, 1200},
		{"deflated", Scenario{Clients: 20, Rate: 100, Deflate: true}, 2000},
		{"large", Scenario{Clients: 5, Rate: 20, Size: 300_000}, 100},
		{"small", Scenario{Clients: 5, Rate: 100, Size: minSize}, 500},
		{"only the newest counts", Scenario{Clients: 20, Rate: 100, Topic: "metrics"}, 2000},
		{"some do not read", Scenario{Clients: 20, Rate: 100, Slow: 0.5}, 1000},
		{"after warming up", Scenario{Clients: 20, Rate: 100, Warmup: 200 * time.Millisecond}, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.scenario.Duration = 500 * time.Millisecond
			r := measure(t, x.config(c.scenario))
			if err := r.Fault(); err != nil {
				t.Fatal(err)
			}
			d := r.Deliveries
			if d.Expected != c.deliveries/2 || d.Arrived != d.Expected || d.Holes != 0 {
				t.Errorf("of %d deliveries %d were expected and %d arrived, with %d holes", c.deliveries/2, d.Expected, d.Arrived, d.Holes)
			}
			if l := r.Latency; l.at(50) <= 0 || l.at(50) > l.max() || l.max() > 10*time.Second {
				t.Errorf("latency: %v", l)
			}
			if want := int(c.scenario.Slow * float64(c.scenario.Clients)); r.Connections.Opened != c.scenario.Clients || r.Connections.Slow != want {
				t.Errorf("%d clients, %d of them slow", r.Connections.Opened, r.Connections.Slow)
			}
			if r.Interrupted {
				t.Error("it says that it was interrupted")
			}
		})
	}
}

func TestRun_SeveralEdgesShareTheClients(t *testing.T) {
	x := newTarget(t)
	other, err := edge.New(edge.Config{Listen: "127.0.0.1:0", Open: true, Bus: x.nats.Connect(t), DrainGrace: time.Millisecond, DrainWindow: time.Millisecond,
		Limits: edge.Limits{Connections: 5}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, other.Run)
	cfg := x.config(Scenario{Clients: 10, Rate: 100})
	cfg.URLs = append(cfg.URLs, "ws://"+other.Addr().String()+"/ws")
	if err := measure(t, cfg).Fault(); err != nil {
		t.Error(err)
	}
	cfg.Clients = 12 // the sixth of the other's is one too many
	if err := measure(t, cfg).Fault(); err == nil || !strings.Contains(err.Error(), "1 connections failed: refused with 503 unavailable: this node is full") {
		t.Errorf("a full edge: %v", err)
	}
}

func TestRun_AStormLeavesThoseWhoWereThereAlone(t *testing.T) {
	r := measure(t, newTarget(t).config(Scenario{Clients: 10, Rate: 100, Storm: 200, Duration: 3 * time.Second}))
	if err := r.Fault(); err != nil {
		t.Fatal(err)
	}
	s := r.Storm
	if s == nil || s.Opened != 200 || s.Took.TotalCount() != 200 || s.Seconds <= 0 {
		t.Fatalf("the storm: %+v", s)
	}
	parts := []int64{s.LatencyBefore.TotalCount(), s.LatencyDuring.TotalCount(), s.LatencyAfter.TotalCount()}
	if sum := parts[0] + parts[1] + parts[2]; sum != r.Deliveries.Arrived || parts[0] != 1000 || parts[2] == 0 {
		t.Errorf("%d deliveries, of which before, during and after: %v", r.Deliveries.Arrived, parts)
	}
}

func TestRun_ChurnIsAnswered(t *testing.T) {
	r := measure(t, newTarget(t).config(Scenario{Clients: 10, Rate: 100, Churn: 500, Duration: time.Second}))
	if err := r.Fault(); err != nil {
		t.Fatal(err)
	}
	if c := r.Churn; c == nil || c.Requests < 450 || c.Requests > 550 || c.Took.TotalCount() != int64(c.Requests) {
		t.Errorf("of 500 requests: %+v", c)
	}
}

func TestRun_LatencyIsThatOfTheWholeWay(t *testing.T) {
	const delay = 40 * time.Millisecond
	x := newTarget(t)
	cfg := x.config(Scenario{Clients: 3, Rate: 10, Duration: 500 * time.Millisecond})
	cfg.URLs = []string{"ws://" + detour(t, x.edge.Addr().String(), delay) + "/ws"}
	r := measure(t, cfg)
	if least := r.Latency.at(0); r.Latency.TotalCount() != 15 || least < delay {
		t.Errorf("%d messages, one came after %v", r.Latency.TotalCount(), least)
	}
	if l := r.Connections.Took; l.at(0) < 2*delay {
		t.Errorf("one was connected and subscribed after %v", l.at(0))
	}
}

// detour is an address that leads to another by a way on which everything that comes back takes longer.
func detour(t *testing.T, to string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() {
				defer far.Close()
				_, _ = io.Copy(far, near)
			})
			running.Go(func() {
				defer near.Close()
				b := make([]byte, 4096)
				for {
					n, err := far.Read(b)
					if err != nil {
						return
					}
					time.Sleep(delay)
					if _, err := near.Write(b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

func TestRun_IdleClients(t *testing.T) {
	x := newTarget(t)
	cfg := x.config(Scenario{Clients: 50, Topics: 10, Subscriptions: 5})
	cfg.NATS.Servers = []string{"nats://" + nobody(t)} // which it needs for nothing
	r := measure(t, cfg)
	if err := r.Fault(); err != nil || r.Deliveries != nil || r.Messages != nil || r.Server != nil || r.Connections.Opened != 50 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRun_ClientsNeedNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are polled on Linux only")
	}
	x := newTarget(t)
	before, most := runtime.NumGoroutine(), 0
	cfg := x.config(Scenario{Clients: 200})
	cfg.Progress = func(p Progress) {
		if p.Phase == Idling {
			most = max(most, runtime.NumGoroutine())
		}
	}
	measure(t, cfg)
	if most == 0 || most-before > 20 {
		t.Errorf("%d goroutines more for 200 clients", most-before)
	}
}

func TestRun_CostsOfTheProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it is measured on Linux only")
	}
	x := newTarget(t)
	cfg := x.config(Scenario{Clients: 50, Rate: 100})
	cfg.PIDs = []int{os.Getpid()} // where the edge runs
	r := measure(t, cfg)
	if s := r.Server; s == nil || s.CPUPerDelivery <= 0 || s.CPUPerConnect <= 0 || s.Cores <= 0 || s.Bytes < 1<<20 || s.BytesLoaded < 1<<20 {
		t.Errorf("%+v", r.Server)
	}
	cfg.Rate = 0
	if s := measure(t, cfg).Server; s == nil || s.CPUPerIdleSecond <= 0 {
		t.Errorf("idle: %+v", s)
	}
	cfg.PIDs = []int{1 << 22}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--pid: ") {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestRun_ConnectRateIsKept(t *testing.T) {
	x := newTarget(t)
	start := time.Now()
	r := measure(t, x.config(Scenario{Clients: 20, ConnectRate: 50, Duration: time.Millisecond}))
	if took := time.Since(start); took < 380*time.Millisecond || r.Connections.PerSecond > 55 {
		t.Errorf("20 clients at 50 a second took %v, %v a second", took, r.Connections.PerSecond)
	}
}

func TestRun_InterruptedTellsWhatItHas(t *testing.T) {
	x := newTarget(t)
	for _, phase := range []Phase{Connecting, Idling, WarmingUp, Measuring} {
		t.Run(string(phase), func(t *testing.T) {
			cfg := x.config(Scenario{Clients: 10, Rate: 100, Duration: time.Hour, Warmup: 300 * time.Millisecond})
			switch phase {
			case Connecting:
				cfg.ConnectRate = 1
			case Idling:
				cfg.Rate = 0
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			cfg.Progress = func(p Progress) {
				if p.Phase == phase {
					stop()
				}
			}
			r, err := Run(ctx, cfg)
			if err != nil || !r.Interrupted || r.Connections.Opened == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if err := r.Fault(); err != nil {
				t.Error(err)
			}
			if measured := r.Deliveries != nil && r.Deliveries.Arrived > 0; measured != (phase == Measuring) {
				t.Errorf("measured: %v", measured)
			}
			var table strings.Builder
			if err := WriteTable(&table, r); err != nil || !strings.Contains(table.String(), "(stopped before its end)") {
				t.Errorf("%v: %s", err, &table)
			}
		})
	}
}

func TestRun_SaysWhyNothingCanBeMeasured(t *testing.T) {
	x := newTarget(t)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, c := range []struct {
		name   string
		change func(*Config)
		is     error
		want   string
	}{
		{"no edge", func(c *Config) { c.URLs = []string{"ws://" + nobody(t) + "/ws"} }, ErrNoEdge, "connection refused"},
		{"no NATS", func(c *Config) { c.NATS.Servers = []string{"nats://" + nobody(t)} }, ErrNoNATS, "connection refused"},
		{"no stream", func(c *Config) { c.NATS.Stream.Name = "OTHER" }, ErrNoNATS, ""},
		{"no WebSocket", func(c *Config) { c.URLs = []string{"ws" + strings.TrimPrefix(web.URL, "http")} }, nil, "refused with 404 Not Found: that is no answer of an edge"},
		{"too many clients", func(c *Config) { c.Clients = 1 << 30 }, ErrNoDescriptors, "raise the limit"},
		{"all faults at once", func(c *Config) { c.Subscriptions, c.Size, c.Slow = 2, 1, 1 }, nil, "--size: 1 must be"},
		{"wildcard", func(c *Config) { c.Topic = "*" }, nil, "--topic: "},
		{"reserved", func(c *Config) { c.Topic = "ack" }, nil, "--topic: "},
		{"URL", func(c *Config) { c.URLs = []string{"http://x"} }, nil, "--url: "},
		{"floor with topics", func(c *Config) { c.Floor, c.Topics = true, 2 }, nil, "--floor: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := x.config(Scenario{Clients: 2, Rate: 10})
			c.change(&cfg)
			_, err := Run(t.Context(), cfg)
			if err == nil || (c.is != nil && !errors.Is(err, c.is)) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRun_TellsProgress(t *testing.T) {
	x := newTarget(t)
	seen := map[Phase]Progress{}
	cfg := x.config(Scenario{Clients: 10, Rate: 100, Warmup: 600 * time.Millisecond, Duration: 900 * time.Millisecond})
	cfg.Progress = func(p Progress) { seen[p.Phase] = p }
	measure(t, cfg)
	p := seen[Measuring]
	if p.Connected != 10 || p.Clients != 10 || p.Of != 900*time.Millisecond || p.Elapsed == 0 || p.PerSecond == 0 || p.P99 == 0 {
		t.Errorf("%+v", p)
	}
	if _, ok := seen[WarmingUp]; !ok {
		t.Error("it does not tell that it warms up")
	}
	if s := p.String(); !strings.HasPrefix(s, "measuring 0s of 900ms: ") || !strings.Contains(s, " messages a second, p50 ") {
		t.Errorf("%q", s)
	}
}

func TestFloor_GivesEveryClientEverything(t *testing.T) {
	x := newTarget(t)
	conn, err := ConnectNATS(t.Context(), x.line())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := NewFloor(t.Context(), conn, "127.0.0.1:0", "bench")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for _, topics := range []int{1, 5} {
		cfg := x.config(Scenario{Clients: 30, Topics: topics, Subscriptions: topics, Rate: 100, Burst: topics})
		cfg.Floor, cfg.URLs = true, []string{"ws://" + f.Addr().String() + "/"}
		r := measure(t, cfg)
		if err := r.Fault(); err != nil || r.Deliveries.Expected != 900 || r.Deliveries.Arrived != 900 {
			t.Errorf("%+v: %v", r.Deliveries, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
