package docker

import (
	"github.com/prometheus/client_golang/prometheus"
)

// What made a list due, and how a break of the event stream went: closed lists.
const (
	causeFound    = "found"    // an engine was found, anew or for the first time
	causeChange   = "change"   // a container changed
	causeInterval = "interval" // the list interval has passed

	breakResumed = "resumed" // the engine still had the last event that was seen: nothing is missing
	breakLost    = "lost"    // it had not: events are missing, and the list is all there is
)

type metrics struct {
	up      prometheus.Gauge
	events  *prometheus.CounterVec
	lists   *prometheus.CounterVec
	breaks  *prometheus.CounterVec
	missing prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	m := &metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_docker_engine_up", Help: "1 while a container engine is being followed, 0 while none answers.",
		}),
		events: counter("tidings_docker_events_total", "Container events published, by kind.", "event", eventNames...),
		lists:  counter("tidings_docker_lists_total", "Lists of containers published, by what made one due.", "cause", causeFound, causeChange, causeInterval),
		breaks: counter("tidings_docker_event_breaks_total", "Breaks of the engine's event stream, by whether all events of the break could be had afterwards.", "outcome", breakResumed, breakLost),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_docker_stats_missing_total", Help: "Running containers left out of a beat of container-stats, because the engine had no (recent) figures of them.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.up, m.events, m.lists, m.breaks, m.missing} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
