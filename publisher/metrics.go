package publisher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the publisher's own. The source label takes the constants that
// sources are named by.
type metrics struct {
	duration    *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	panics      *prometheus.CounterVec
	missed      *prometheus.CounterVec
	lastSuccess *prometheus.GaugeVec
	readings    *prometheus.CounterVec
	breaks      *prometheus.CounterVec
	claimed     prometheus.Gauge
}

// sourceMetrics are those of one source.
type sourceMetrics struct {
	duration    prometheus.Observer
	failures    prometheus.Counter
	panics      prometheus.Counter
	missed      prometheus.Counter
	lastSuccess prometheus.Gauge
	readings    prometheus.Counter
	breaks      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	label := []string{"source"}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, label)
	}
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_source_duration_seconds", Help: "Time that one beat of a source took, in seconds.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, label),
		failures: counter("tidings_source_failures_total", "Beats of a source that returned an error or panicked, and readings that could not be encoded."),
		panics:   counter("tidings_source_panics_total", "Panics in a source, in its beats and its watch."),
		missed:   counter("tidings_source_missed_beats_total", "Beats that a source had no time for, because the one before took longer than the interval."),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidings_source_last_success_timestamp_seconds", Help: "When a beat of a source last ended without an error, in seconds since the Unix epoch; 0: never.",
		}, label),
		readings: counter("tidings_source_readings_total", "Messages that a source emitted."),
		breaks:   counter("tidings_source_watch_breaks_total", "Times that the watch of a source ended and was started again."),
		claimed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_publisher_host_claimed", Help: "1 while this publisher holds its host's name, 0 while it doesn't (yet).",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.duration, m.failures, m.panics, m.missed, m.lastSuccess, m.readings, m.breaks, m.claimed,
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// of makes a source's metrics exist, at 0.
func (m *metrics) of(source string) sourceMetrics {
	return sourceMetrics{
		duration: m.duration.WithLabelValues(source), failures: m.failures.WithLabelValues(source),
		panics: m.panics.WithLabelValues(source), missed: m.missed.WithLabelValues(source),
		lastSuccess: m.lastSuccess.WithLabelValues(source), readings: m.readings.WithLabelValues(source),
		breaks: m.breaks.WithLabelValues(source),
	}
}

func (m sourceMetrics) succeededAt(t time.Time) {
	m.lastSuccess.Set(float64(t.UnixMilli()) / 1000)
}
