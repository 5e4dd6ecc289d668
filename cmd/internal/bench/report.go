package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"tidings/bus"
)

// ReportConfig says what is measured for a report.
type ReportConfig struct {
	Scenarios []Standard      // default: those of Standing that belong into one
	Repeat    int             // measurements of each, edge and floor in turn; default 5
	Change    func(*Scenario) // of each before it is measured; nil: they stay
	Settle    time.Duration   // see Config
	Edge      string          // program of the edge; default: the edge that this program has in it
	Version   string          // of this program
	Progress  func(string)    // what is going on; nil: nobody looks
}

// Report is the standing set as one machine did it.
type Report struct {
	Version string
	Machine Machine
	Began   time.Time
	Took    time.Duration
	Busy    string // load averages of the machine before; empty: not known
	Repeat  int
	Rows    []Row
}

// Row is one scenario, each time on a fresh NATS and a fresh server.
type Row struct {
	Standard
	Edge  []*Result
	Floor []*Result // none: the floor cannot do that
}

// MakeReport measures. Every result has to be without fault: a figure of an edge that loses messages is none.
func MakeReport(ctx context.Context, cfg ReportConfig) (*Report, error) {
	if len(cfg.Scenarios) == 0 {
		cfg.Scenarios = slices.DeleteFunc(slices.Clone(Standing), func(s Standard) bool { return s.Extra })
	}
	orElse(&cfg.Repeat, 5)
	r := &Report{Version: cfg.Version, Machine: ThisMachine(), Began: time.Now(), Repeat: cfg.Repeat}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Busy = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	for _, s := range cfg.Scenarios {
		if cfg.Change != nil {
			cfg.Change(&s.Scenario)
		}
		r.Rows = append(r.Rows, Row{Standard: s})
	}
	// Round by round, so that what is compared was measured within the same minutes: the machine's speed drifts.
	for i := range cfg.Repeat {
		for k := range r.Rows {
			say := func(what string) {
				if cfg.Progress != nil {
					cfg.Progress(fmt.Sprintf("round %d of %d: %s, %s (%d of %d)", i+1, cfg.Repeat, r.Rows[k].Name, what, k+1, len(r.Rows)))
				}
			}
			if err := r.Rows[k].measure(ctx, cfg, say); err != nil {
				return nil, err
			}
		}
	}
	r.Took = time.Since(r.Began)
	return r, nil
}

// measure measures a row once more.
func (r *Row) measure(ctx context.Context, cfg ReportConfig, say func(string)) error {
	if r.hasFloor() {
		say("floor")
		result, err := measureAlone(ctx, r.Scenario, true, cfg)
		if err != nil {
			return fmt.Errorf("%s, floor: %w", r.Name, err)
		}
		r.Floor = append(r.Floor, result)
	}
	say("edge")
	result, err := measureAlone(ctx, r.Scenario, false, cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	r.Edge = append(r.Edge, result)
	return nil
}

// row finds a row by its name; nil: it was not measured.
func (r *Report) row(name string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return nil
}

// hasFloor says whether the floor is measured too: where every client gets everything, and reads. A variation is held against
// another load instead.
func (s Standard) hasFloor() bool {
	if s.Against != "" {
		return false
	}
	load := Config{Scenario: s.Scenario}.withDefaults()
	return load.Rate > 0 && load.Subscriptions == load.Topics && load.Slow == 0 && !load.Deflate && load.Storm == 0 && load.Churn == 0
}

// measureAlone measures on a NATS and a server that nobody else uses, each a process.
func measureAlone(ctx context.Context, s Scenario, floor bool, report ReportConfig) (result *Result, stopped error) {
	nats, err := StartChild(ctx, "bench", "serve", "nats")
	if err != nil {
		return nil, err
	}
	defer func() { stopped = errors.Join(stopped, nats.Stop()) }()
	cfg := Config{
		Scenario: s, Floor: floor, Settle: report.Settle,
		NATS: bus.Config{Servers: []string{nats.Address}, Logger: slog.New(slog.DiscardHandler)},
	}
	for range max(1, s.Edges) {
		server, path, err := startServer(ctx, nats.Address, floor, report.Edge)
		if err != nil {
			return nil, err
		}
		defer func() { stopped = errors.Join(stopped, server.Stop()) }()
		cfg.URLs, cfg.PIDs = append(cfg.URLs, "ws://"+server.Address+path), append(cfg.PIDs, server.PID)
	}
	result, err = Run(ctx, cfg)
	switch {
	case err != nil:
		return nil, err
	case result.Interrupted:
		return nil, ctx.Err()
	}
	return result, result.Fault()
}

// startServer starts what is to be measured, and says where its WebSockets are.
func startServer(ctx context.Context, nats string, floor bool, edge string) (server *Child, path string, err error) {
	if floor {
		server, err = StartChild(ctx, "bench", "serve", "floor", "--stream", "--prefix", "tidings", "--nats", nats)
		return server, "/", err
	}
	args := []string{"--listen", "127.0.0.1:0", "--auth", "none", "--nats", nats}
	if edge != "" {
		server, err = StartEdge(ctx, edge, append(args, "--admin", "none")...)
	} else {
		server, err = StartChild(ctx, append([]string{"bench", "serve", "edge", "--log-level", "warn"}, args...)...)
	}
	return server, "/ws", err
}

// median is the middle of values, with the least and the most of them.
type median struct{ middle, least, most float64 }

func medianOf(values []float64) median {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return median{}
	}
	return median{middle: (sorted[(n-1)/2] + sorted[n/2]) / 2, least: sorted[0], most: sorted[n-1]}
}

// of is the median of a figure over results.
func of(results []*Result, figure func(*Result) float64) median {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = figure(r)
	}
	return medianOf(values)
}

// ratio is the median of the edge's figure in multiples of what was measured in the same round: the floor's, or another load's.
func (r Row) ratio(others []*Result, figure func(*Result) float64) median {
	values := make([]float64, min(len(r.Edge), len(others)))
	for i := range values {
		values[i] = figure(r.Edge[i]) / figure(others[i])
	}
	return medianOf(values)
}

// merged is the latency over all repetitions.
func merged(results []*Result) latency {
	l := newLatency()
	for _, r := range results {
		if r.Latency.Histogram != nil {
			l.Merge(r.Latency.Histogram)
		}
	}
	return l
}
