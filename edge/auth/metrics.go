package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what a Verifier counts. Every label comes from a closed list, and each of its values exists from the start.
type metrics struct {
	all []prometheus.Collector

	good    prometheus.Counter
	refused map[reason]prometheus.Counter
	seconds prometheus.Histogram

	reloads, reloadsFailed                prometheus.Counter
	fetches, fetchesFailed, fetchesSpared prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{refused: map[reason]prometheus.Counter{}}
	vec := func(name, help string) func(string) prometheus.Counter {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidings", Subsystem: "auth", Name: name, Help: help}, []string{"result"})
		m.all = append(m.all, v)
		return func(result string) prometheus.Counter { return v.WithLabelValues(result) }
	}
	tokens := vec("tokens_total", "Tokens that were looked at, by what came of it.")
	m.good = tokens("ok")
	for _, r := range reasons {
		m.refused[r] = tokens(string(r))
	}
	reloads := vec("file_reloads_total", "Files of keys that changed, by whether they could be used.")
	m.reloads, m.reloadsFailed = reloads("ok"), reloads("failed")
	fetches := vec("jwks_fetches_total", "Fetches of issuers' keys; spared are those that an unknown key asked for too soon after another.")
	m.fetches, m.fetchesFailed, m.fetchesSpared = fetches("ok"), fetches("failed"), fetches("spared")
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "tidings", Subsystem: "auth", Name: "verify_seconds", Help: "Time that it took to verify a token, waiting for an issuer included.",
		Buckets: prometheus.ExponentialBuckets(0.00001, 4, 10),
	})
	m.all = append(m.all, m.seconds)
	return m
}

func (m *metrics) verified(took time.Duration, err error) {
	m.seconds.Observe(took.Seconds())
	var r *refusal
	if errors.As(err, &r) {
		m.refused[r.reason].Inc()
		return
	}
	m.good.Inc()
}

// register puts all on registerer, or none.
func (m *metrics) register(registerer prometheus.Registerer, v *Verifier) error {
	if registerer == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: "tidings", Subsystem: "auth", Name: name, Help: help}, value))
	}
	gauge("keys", "Keys that tokens can be verified with now.", func() float64 { return float64(v.keyCount()) })
	gauge("jwks_oldest_timestamp_seconds", "When the issuer's keys that are the oldest were fetched; 0: some were never had.", v.oldestFetch)
	for i, collector := range m.all {
		if err := registerer.Register(collector); err != nil {
			for _, registered := range m.all[:i] {
				registerer.Unregister(registered)
			}
			return fmt.Errorf("register the metrics of tokens: %w", err)
		}
	}
	return nil
}

func (v *Verifier) keyCount() int {
	n := len(*v.local.Load())
	for r := range v.remotes() {
		keys, _ := r.held()
		n += len(keys)
	}
	return n
}

// oldestFetch is now where there is nothing to fetch, so that an alert on its age needs no exception.
func (v *Verifier) oldestFetch() float64 {
	oldest := time.Now()
	for r := range v.remotes() {
		r.mu.Lock()
		loaded := r.loaded
		r.mu.Unlock()
		if loaded.IsZero() {
			return 0
		}
		if loaded.Before(oldest) {
			oldest = loaded
		}
	}
	return float64(oldest.UnixMilli()) / 1000
}
