package bench

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is a NATS and an edge to put a load on.
type target struct {
	nats *bustest.Server
	edge *edge.Edge
}

func newTarget(t *testing.T, change ...func(*edge.Config)) target {
	t.Helper()
	nats := bustest.New(t)
	cfg := edge.Config{Listen: "127.0.0.1:0", Open: true, Bus: nats.Connect(t), DrainGrace: time.Millisecond, DrainWindow: time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	e, err := edge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, e.Run)
	return target{nats, e}
}

// runs runs something until the test ends.
func runs(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// config is a small load on the target.
func (x target) config(s Scenario) Config {
	if s.Duration == 0 {
		s.Duration = 300 * time.Millisecond
	}
	return Config{Scenario: s, URLs: []string{"ws://" + x.edge.Addr().String() + "/ws"}, NATS: x.line(), Settle: time.Millisecond}
}

func (x target) line() bus.Config {
	return bus.Config{Servers: []string{x.nats.URL()}, Logger: slog.New(slog.DiscardHandler)}
}

// measure runs a load and expects no error; what is wrong with the result is the test's matter.
func measure(t *testing.T, cfg Config) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
