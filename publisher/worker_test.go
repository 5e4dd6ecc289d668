package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// source is a Source made of functions.
type source struct {
	name     string
	interval time.Duration
	read     func(context.Context, Emit) error
}

func (s source) Name() string                              { return s.name }
func (s source) Interval() time.Duration                   { return s.interval }
func (s source) Read(ctx context.Context, emit Emit) error { return s.read(ctx, emit) }

// watcher is a Watcher made of functions.
type watcher struct {
	source
	watch func(context.Context, Emit) error
}

func (w watcher) Watch(ctx context.Context, emit Emit) error { return w.watch(ctx, emit) }

var errTest = errors.New("as the test wants it")

// newWorker is a worker without a publisher, its metrics and its log.
func newWorker(t *testing.T, s Source) (*worker, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	registry, log := prometheus.NewRegistry(), &bytes.Buffer{}
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return &worker{
		source: s, emit: func(Reading) {}, metrics: m.of(s.Name()),
		logger: slog.New(slog.NewTextHandler(log, nil)),
	}, registry, log
}

// beats runs a worker for so long, in a bubble's time, and returns when its beats began.
func beats(t *testing.T, interval, forSo time.Duration, read func(n int) error) (at []time.Duration, registry *prometheus.Registry, log string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w, r, text := newWorker(t, source{"test", interval, func(context.Context, Emit) error {
			at = append(at, time.Since(start))
			return read(len(at))
		}})
		ctx, cancel := context.WithTimeout(t.Context(), forSo)
		defer cancel()
		w.beat(ctx)
		registry, log = r, text.String()
	})
	return at, registry, log
}

func expect(t *testing.T, r *prometheus.Registry, name, value string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.Metric[0]
			got := fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()))
			if got != value {
				t.Errorf("%s is %s, not %s", name, got, value)
			}
			return
		}
	}
	t.Errorf("no metric %s", name)
}

func TestBeats_AlignedWithoutDrift(t *testing.T) {
	at, registry, _ := beats(t, time.Second, 4500*time.Millisecond, func(int) error {
		time.Sleep(300 * time.Millisecond) // takes its time, and still begins on the grid
		return nil
	})
	if want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("beats at %v, not %v", at, want)
	}
	expect(t, registry, "tidings_source_duration_seconds", "5")
	expect(t, registry, "tidings_source_missed_beats_total", "0")
	expect(t, registry, "tidings_source_failures_total", "0")
}

func TestBeats_SlowSourceMissesThemRatherThanPilingUp(t *testing.T) {
	at, registry, _ := beats(t, time.Second, 6500*time.Millisecond, func(n int) error {
		if n == 2 {
			time.Sleep(2500 * time.Millisecond) // from 1 s to 3.5 s
		}
		return nil
	})
	if want := []time.Duration{0, time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("beats at %v, not %v", at, want)
	}
	expect(t, registry, "tidings_source_missed_beats_total", "2")
}

func TestBeats_PanicIsAnErrorOfThatSource(t *testing.T) {
	at, registry, log := beats(t, time.Second, 2500*time.Millisecond, func(n int) error {
		if n == 2 {
			panic("as the test wants it")
		}
		return nil
	})
	if len(at) != 3 {
		t.Errorf("beats at %v", at)
	}
	expect(t, registry, "tidings_source_panics_total", "1")
	expect(t, registry, "tidings_source_failures_total", "1")
	for _, part := range []string{"source fails", "panic: as the test wants it", "worker_test.go", "works again"} {
		if !strings.Contains(log, part) {
			t.Errorf("the log has no %q:\n%s", part, log)
		}
	}
}

// A source that beats once a minute and fails is not left alone for a minute.
func TestBeats_FailureIsRetriedBetweenTwoBeats(t *testing.T) {
	at, registry, _ := beats(t, time.Minute, 90*time.Second, func(n int) error {
		if n <= 3 || n == 5 {
			return errTest
		}
		return nil
	})
	if len(at) != 6 {
		t.Fatalf("beats at %v", at)
	}
	for i, most := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if pause := at[i+1] - at[i]; pause <= 0 || pause > most+1 {
			t.Errorf("retry %d came after %v, not within %v", i+1, pause, most)
		}
	}
	if at[4] != time.Minute {
		t.Errorf("the retries moved the beat to %v", at[4])
	}
	if pause := at[5] - at[4]; pause > retryBase+1 {
		t.Errorf("after it worked, the first retry came after %v", pause)
	}
	expect(t, registry, "tidings_source_failures_total", "4")
	expect(t, registry, "tidings_source_missed_beats_total", "0")
}

func TestBeats_LastingFailureIsLoggedOnceAMinute(t *testing.T) {
	_, registry, log := beats(t, time.Second, 149500*time.Millisecond, func(int) error { return errTest })
	if n := strings.Count(log, "source fails"); n != 3 {
		t.Errorf("150 failures have %d lines:\n%s", n, log)
	}
	expect(t, registry, "tidings_source_failures_total", "150")
	expect(t, registry, "tidings_source_last_success_timestamp_seconds", "0")
}

func TestWatch_IsStartedAgainWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		w, registry, log := newWorker(t, watcher{source: source{name: "test", interval: time.Second}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		w.watch(ctx, watcher{watch: func(context.Context, Emit) error {
			at = append(at, time.Now())
			switch len(at) % 3 {
			case 0:
				panic("as the test wants it")
			case 1:
				return nil
			}
			return errTest
		}})
		most := watchBase
		for i := 1; i < len(at); i++ {
			if pause := at[i].Sub(at[i-1]); pause <= 0 || pause > most+1 {
				t.Errorf("pause %d is %v, not within %v", i, pause, most)
			}
			most = min(most*2, watchCap)
		}
		if len(at) < 20 { // 10 min at a mean of 15 s; the chance of fewer is nil
			t.Errorf("%d starts in ten minutes", len(at))
		}
		expect(t, registry, "tidings_source_watch_breaks_total", fmt.Sprint(len(at)))
		expect(t, registry, "tidings_source_panics_total", fmt.Sprint(len(at)/3))
		if !strings.Contains(log.String(), "it ended by itself") {
			t.Errorf("the log says nothing of the watch that ended without an error:\n%s", log)
		}
	})
}

func TestWatch_ThatWorkedForLongStartsAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := newWorker(t, watcher{source: source{name: "test", interval: time.Second}})
		ctx, cancel := context.WithCancel(t.Context())
		starts, ended := 0, time.Time{}
		w.watch(ctx, watcher{watch: func(context.Context, Emit) error {
			if starts++; starts == 11 {
				if pause := time.Since(ended); pause > watchBase+1 {
					t.Errorf("started again after %v", pause)
				}
				cancel()
				return nil
			}
			if starts == 10 {
				time.Sleep(time.Hour)
			}
			ended = time.Now()
			return errTest
		}})
	})
}

func TestMetrics_ExistFromTheStart(t *testing.T) {
	_, registry, _ := newWorker(t, source{name: "test", interval: time.Second})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	n, err := testutil.GatherAndCount(registry)
	if err != nil || n != 8 {
		t.Errorf("%d metrics of one source, %v", n, err)
	}
}
