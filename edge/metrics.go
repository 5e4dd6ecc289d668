package edge

import (
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/edge/wire"
)

// handshake is how a request on the sockets' port ended.
type handshake string

const (
	handshakeOK           handshake = "ok"           // a WebSocket was opened
	handshakeBad          handshake = "bad"          // malformed, or not acceptable
	handshakeOrigin       handshake = "origin"       // a page of another site
	handshakeUnauthorized handshake = "unauthorized" // no token, or not a valid one
	handshakeNoKeys       handshake = "no_keys"      // a token that could not be verified for want of keys, or of time
	handshakeLimited      handshake = "limited"      // too many, or too often, also of one address
	handshakeFull         handshake = "full"         // no place
	handshakeMemory       handshake = "memory"       // no memory
	handshakeDraining     handshake = "draining"     // the edge is being stopped
	handshakeTimeout      handshake = "timeout"      // not complete in time
	handshakeAborted      handshake = "aborted"      // the client hung up before it was complete
	handshakeHTTP         handshake = "http"         // not an upgrade: given to the HTTP server
)

var handshakes = []handshake{handshakeOK, handshakeBad, handshakeOrigin, handshakeUnauthorized, handshakeNoKeys,
	handshakeLimited, handshakeFull, handshakeMemory, handshakeDraining, handshakeTimeout, handshakeAborted, handshakeHTTP}

// Close codes that no frame carries (RFC 6455 §7.4.1).
const (
	closedByPeer wire.CloseCode = 1006 // the line broke, or the client hung up without a close frame
	closedByStop wire.CloseCode = 1005 // dropped when the edge stopped
)

// metrics is what an edge counts. Every label comes from a closed list, and each of its values exists from the start.
type metrics struct {
	open          prometheus.Gauge
	lagging       prometheus.Gauge
	subscriptions prometheus.Gauge
	patterns      prometheus.Gauge
	topics        prometheus.Gauge
	handshakes    map[handshake]prometheus.Counter
	closes        map[wire.CloseCode]prometheus.Counter
	otherCloses   prometheus.Counter
	errors        map[wire.Code]prometheus.Counter
	limited       map[limit]prometheus.Counter
	reloads       map[reload]prometheus.Counter
	certificate   prometheus.Gauge
	replays       map[bool]prometheus.Counter // by whether they are refills
	gaps          map[wire.GapReason]prometheus.Counter
	tokens        map[judgement]prometheus.Counter
	acting        prometheus.Gauge
	actions       map[string]prometheus.Counter
	unrecorded    prometheus.Counter

	messages      prometheus.Counter
	bytesFromNATS prometheus.Counter
	invalid       prometheus.Counter
	deliveries    prometheus.Counter
	bytesOut      prometheus.Counter
	messagesIn    prometheus.Counter
	bytesIn       prometheus.Counter
	flushes       prometheus.Counter
	flushSize     prometheus.Histogram
	conflated     prometheus.Counter
	overflow      prometheus.Counter
	slow          prometheus.Counter
	repairs       prometheus.Counter
	rewinds       prometheus.Counter
	hubWaits      prometheus.Counter
	hubWait       prometheus.Histogram
	lag           prometheus.Histogram
	turns         prometheus.Histogram
}

// tally counts what one turn sent, so that a delivery itself touches no shared counter.
type tally struct {
	deliveries, bytes, flushes int
}

func (t *tally) count(deliveries, bytes int) {
	t.deliveries += deliveries
	t.bytes += bytes
	t.flushes++
}

func (m *metrics) sent(t *tally) {
	if t.flushes == 0 {
		return
	}
	m.deliveries.Add(float64(t.deliveries))
	m.bytesOut.Add(float64(t.bytes))
	m.flushes.Add(float64(t.flushes))
	m.flushSize.Observe(float64(t.deliveries) / float64(t.flushes))
}

func (m *metrics) closed(code wire.CloseCode) {
	if c := m.closes[code]; c != nil {
		c.Inc()
		return
	}
	m.otherCloses.Inc()
}

func newMetrics(r prometheus.Registerer) *metrics {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidings_edge_" + name, Help: help})
		all = append(all, c)
		return c
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_edge_" + name, Help: help}, []string{label})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidings_edge_" + name, Help: help})
		all = append(all, g)
		return g
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tidings_edge_" + name, Help: help, Buckets: buckets})
		all = append(all, h)
		return h
	}
	m := &metrics{
		open:          gauge("connections", "WebSocket connections that are open."),
		lagging:       gauge("lagging_connections", "Connections that are owed messages because their socket takes no more."),
		subscriptions: gauge("subscriptions", "Subscriptions of all connections; one pattern of one connection is one."),
		patterns:      gauge("patterns", "Different patterns that are held for clients, lingering ones included."),
		acting:        gauge("actions_running", "Actions that wait for their publisher's answer."),
		certificate:   gauge("certificate_expiry_timestamp_seconds", "When the TLS certificate expires, Unix time; +Inf: there is none."),
		topics:        gauge("topics", "Topics that the edge follows for clients."),

		unrecorded:    counter("actions_unrecorded_total", "Refused actions that no publisher was asked to record: they were too many."),
		messages:      counter("nats_messages_total", "Live messages taken from NATS."),
		bytesFromNATS: counter("nats_bytes_total", "Payload bytes of live messages taken from NATS, invalid ones included."),
		invalid:       counter("invalid_messages_total", "Live messages that were not delivered because their payload is not valid JSON, not UTF-8 or too large."),
		deliveries:    counter("deliveries_total", "Frames written to clients: one message to one client is one."),
		bytesOut:      counter("sent_bytes_total", "Bytes written to clients."),
		messagesIn:    counter("requests_total", "Messages from clients, wrong ones included."),
		bytesIn:       counter("received_bytes_total", "Bytes read from clients."),
		flushes:       counter("flushes_total", "Writes to clients; deliveries per flush say how well messages share them."),
		flushSize:     histogram("flush_frames", "Frames per write to a client, averaged over one turn of a loop.", prometheus.ExponentialBuckets(1, 2, 10)),
		conflated:     counter("conflated_total", "Values of latest topics that a newer one replaced before a client took them."),
		overflow:      counter("overflow_total", "Messages without a place in the stream that a lagging client did not get."),
		slow:          counter("slow_clients_total", "Times that a client's socket was full and it began to lag."),
		repairs:       counter("repairs_total", "Times that messages missing from NATS' live delivery were read from the stream."),
		rewinds:       counter("stream_rewinds_total", "Times that the stream was found to have lost messages that were passed on, and to have given their places to others."),
		hubWaits:      counter("hub_waits_total", "Times that no more messages were taken from NATS or read from the stream for a while because loops were far behind."),
		hubWait: histogram("hub_wait_seconds", "Time for which no more messages were taken because loops were far behind; one that goes on is not in it yet.",
			prometheus.ExponentialBuckets(0.001, 4, 8)),
		lag: histogram("delivery_lag_seconds", "Time from the stream's taking a message to the end of the turn in which a loop wrote it to its clients; one observation for each message and loop.",
			prometheus.ExponentialBuckets(0.0005, 2, 15)),
		turns: histogram("loop_turn_seconds", "Time of one turn of a loop, waiting excluded.", prometheus.ExponentialBuckets(0.00002, 4, 9)),

		handshakes: map[handshake]prometheus.Counter{},
		closes:     map[wire.CloseCode]prometheus.Counter{},
		errors:     map[wire.Code]prometheus.Counter{},
		limited:    map[limit]prometheus.Counter{},
		reloads:    map[reload]prometheus.Counter{},
		gaps:       map[wire.GapReason]prometheus.Counter{},
		tokens:     map[judgement]prometheus.Counter{},
	}
	v := vec("handshakes_total", "Requests on the sockets' port, by how they ended.", "result")
	for _, h := range handshakes {
		m.handshakes[h] = v.WithLabelValues(string(h))
	}
	v = vec("closes_total", "Connections that ended, by close code; none: without a close frame.", "code")
	for _, c := range wire.CloseCodes {
		number, _, _ := strings.Cut(c.String(), " ")
		m.closes[c] = v.WithLabelValues(number)
	}
	m.closes[closedByPeer] = v.WithLabelValues("none")
	m.closes[closedByStop] = v.WithLabelValues("stopped")
	m.otherCloses = v.WithLabelValues("other")
	v = vec("errors_total", "Errors sent to clients, by code.", "code")
	for _, c := range wire.Codes {
		m.errors[c] = v.WithLabelValues(string(c))
	}
	v = vec("limited_total", "Times that a limit struck, by its key in the configuration.", "limit")
	for _, l := range limits {
		m.limited[l] = v.WithLabelValues(string(l))
	}
	v = vec("certificate_reloads_total", "Changes of the TLS certificate's files, by how they ended.", "result")
	for _, r := range reloads {
		m.reloads[r] = v.WithLabelValues(string(r))
	}
	v = vec("replays_total", "Reads of the stream for clients that came back (resume) or fell behind (refill); those who ask for the same share one.", "cause")
	m.replays = map[bool]prometheus.Counter{false: v.WithLabelValues("resume"), true: v.WithLabelValues("refill")}
	v = vec("gaps_total", "Gaps told to clients, by reason.", "reason")
	for _, g := range wire.GapReasons {
		m.gaps[g] = v.WithLabelValues(string(g))
	}
	m.actions = map[string]prometheus.Counter{}
	v = vec("actions_total", "Actions that clients asked for, by how they ended: ok, unchanged or an error's code. One that is asked for twice counts once.", "outcome")
	for _, o := range actOutcomes {
		m.actions[o] = v.WithLabelValues(o)
	}
	v = vec("tokens_total", "Tokens of connecting clients, of refreshes and of HTTP requests, by what became of them.", "result")
	for _, j := range judgements {
		m.tokens[j] = v.WithLabelValues(string(j))
	}
	m.certificate.Set(math.Inf(1))
	if r != nil {
		r.MustRegister(all...)
	}
	return m
}
