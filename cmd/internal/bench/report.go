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
		cfg.Scenarios = slices.DeleteFunc(slices.Clone(Standing), func(s Standard) bool { return !s.Report })
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
		row := Row{Standard: s}
		for i := range cfg.Repeat {
			say := func(what string) {
				if cfg.Progress != nil {
					cfg.Progress(fmt.Sprintf("%s, %s, %d of %d", s.Name, what, i+1, cfg.Repeat))
				}
			}
			if s.hasFloor() {
				say("floor")
				result, err := measureAlone(ctx, s.Scenario, true, cfg.Settle)
				if err != nil {
					return nil, fmt.Errorf("%s, floor: %w", s.Name, err)
				}
				row.Floor = append(row.Floor, result)
			}
			say("edge")
			result, err := measureAlone(ctx, s.Scenario, false, cfg.Settle)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			row.Edge = append(row.Edge, result)
		}
		r.Rows = append(r.Rows, row)
	}
	r.Took = time.Since(r.Began)
	return r, nil
}

// hasFloor says whether the floor can do that: every client gets everything, and reads.
func (s Scenario) hasFloor() bool {
	s = Config{Scenario: s}.withDefaults().Scenario
	return s.Rate > 0 && s.Subscriptions == s.Topics && s.Slow == 0 && !s.Deflate && s.Storm == 0 && s.Churn == 0
}

// measureAlone measures on a NATS and a server that nobody else uses, each a process.
func measureAlone(ctx context.Context, s Scenario, floor bool, settle time.Duration) (result *Result, err error) {
	nats, err := StartChild(ctx, "bench", "serve", "nats")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, nats.Stop()) }()
	args := []string{"bench", "serve", "edge", "--listen", "127.0.0.1:0", "--log-level", "warn", "--nats", nats.Address}
	path := "/ws"
	if floor {
		args, path = []string{"bench", "serve", "floor", "--stream", "--nats", nats.Address}, "/"
	}
	server, err := StartChild(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	result, err = Run(ctx, Config{
		Scenario: s, Floor: floor, Settle: settle,
		URLs: []string{"ws://" + server.Address + path}, PIDs: []int{server.PID},
		NATS: bus.Config{Servers: []string{nats.Address}, Logger: slog.New(slog.DiscardHandler)},
	})
	switch {
	case err != nil:
		return nil, err
	case result.Interrupted:
		return nil, ctx.Err()
	}
	return result, result.Fault()
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

// ratio is the median of the edge's figure in multiples of the floor's that was measured right before it.
func (r Row) ratio(figure func(*Result) float64) median {
	values := make([]float64, len(r.Floor))
	for i, f := range r.Floor {
		values[i] = figure(r.Edge[i]) / figure(f)
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
