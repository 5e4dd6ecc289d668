package publisher

import (
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
)

// actionMetrics are there whether actions are switched on or not.
type actionMetrics struct {
	ended      map[bus.Verb]map[string]prometheus.Counter // by outcome
	duration   prometheus.Histogram
	repeated   prometheus.Counter
	unrecorded prometheus.Counter
}

func newActionMetrics(r prometheus.Registerer) (*actionMetrics, error) {
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_actions_total", Help: "Actions that this publisher was asked for, by how they ended.",
	}, []string{"action", "outcome"})
	m := &actionMetrics{
		ended: make(map[bus.Verb]map[string]prometheus.Counter),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_action_duration_seconds", Help: "Time from the arrival of an action to its end, in seconds.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_actions_repeated_total", Help: "Requests for an action that had been asked for before, and was not done again.",
		}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_action_audit_failures_total", Help: "Lines that could not be written to the audit file.",
		}),
	}
	for _, verb := range bus.Verbs {
		m.ended[verb] = make(map[string]prometheus.Counter)
		for _, outcome := range outcomes {
			m.ended[verb][outcome] = ended.WithLabelValues(string(verb), outcome)
		}
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{ended, m.duration, m.repeated, m.unrecorded} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
