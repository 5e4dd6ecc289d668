package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// The closed lists behind the labels.
const (
	readLast   = "last"
	readLastN  = "last_n"
	readAfter  = "after"
	readNewest = "newest"

	failUnavailable = "unavailable" // NATS was not reachable
	failNoStream    = "no_stream"   // nobody took the message
	failTimeout     = "timeout"     // no acknowledgement in time: it may have been stored or not
	failConflict    = "conflict"    // ExpectLast did not hold
	failRefused     = "refused"     // the stream or we refused it: trying again is of no use

	dropSuperseded = "superseded"  // a newer message of a latest topic took its place while it waited
	dropFull       = "buffer_full" // the oldest had to go
	dropInvalid    = "invalid"     // not JSON, not UTF-8 or too large: nobody would deliver it
	dropRefused    = "refused"     // NATS will never take it
	dropShutdown   = "shutdown"    // still there when the grace was over

	outcomeOK = "ok" // beside the codes of PROTOCOL §6

	unservedMalformed = "malformed" // not an action for this host, or nobody waits for its answer
	unservedTooMany   = "too_many"  // maxServing others are being seen to
	unservedStopping  = "stopping"  // it came while the service was ending
)

var (
	readNames       = []string{readLast, readLastN, readAfter, readNewest}
	failReasons     = []string{failUnavailable, failNoStream, failTimeout, failConflict, failRefused}
	dropReasons     = []string{dropSuperseded, dropFull, dropInvalid, dropRefused, dropShutdown}
	unservedReasons = []string{unservedMalformed, unservedTooMany, unservedStopping}
	invalidNames    = map[error]string{
		ErrInvalidTopic: "topic", ErrInvalidHeader: "header", ErrInvalidUTF8: "utf8", ErrInvalidJSON: "json", ErrTooLarge: "too_large",
	}
)

// metrics are what a Conn counts. Each has its own set: two in one process need registerers that tell them apart
// (prometheus.WrapRegistererWith).
type metrics struct {
	all []prometheus.Collector

	connected     prometheus.Gauge
	streamUsable  prometheus.Gauge
	reconnects    prometheus.Counter
	left          prometheus.Counter
	epochs        prometheus.Counter
	subscriptions prometheus.Gauge
	drops         prometheus.Counter
	invalid       map[error]prometheus.Counter

	published  prometheus.Counter
	failures   map[string]prometheus.Counter
	ackSeconds prometheus.Histogram

	buffered      prometheus.Gauge
	bufferedBytes prometheus.Gauge
	retries       prometheus.Counter
	outboxDrops   map[string]prometheus.Counter

	read map[string]readMetrics

	asked       map[string]prometheus.Counter // by outcomeOK or a code
	unserved    map[string]prometheus.Counter
	answersLost prometheus.Counter
}

type readMetrics struct {
	seconds  prometheus.Observer
	failures prometheus.Counter
	messages prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		connected:    gauge("connected", "1 while the line to NATS is up, else 0."),
		streamUsable: gauge("stream_usable", "1 while the stream is there and fit for use, else 0."),
		reconnects:   counter("reconnects_total", "Times that a lost line to NATS was made anew."),
		left:         counter("servers_left_total", "Times that a NATS server was left for another one because it could not reach the stream."),
		epochs:       counter("epochs_total", "Times that the stream was found made anew, which voids all positions."),
		subscriptions: gauge("listener_subscriptions",
			"Patterns of live messages subscribed to on NATS."),
		drops:         counter("listener_dropped_messages_total", "Live messages dropped because a listener's channel was full."),
		published:     counter("published_messages_total", "Messages that the stream acknowledged."),
		buffered:      gauge("outbox_messages", "Messages in the outbox: waiting, or sent and not yet acknowledged."),
		bufferedBytes: gauge("outbox_bytes", "Payload bytes of the messages in the outbox."),
		retries:       counter("outbox_retries_total", "Messages of the outbox that were sent once more."),
		ackSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tidings", Subsystem: "bus", Name: "ack_seconds",
			Help:    "Seconds from sending a message to its acknowledgement by the stream.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 4, 9),
		}),
		invalid: map[error]prometheus.Counter{}, failures: map[string]prometheus.Counter{},
		outboxDrops: map[string]prometheus.Counter{}, read: map[string]readMetrics{},
		asked: map[string]prometheus.Counter{}, unserved: map[string]prometheus.Counter{},
		answersLost: counter("action_answers_lost_total", "Answers to actions that could not be sent while anybody waited for them."),
	}
	invalid := counters("invalid_messages_total", "Messages from NATS that are not delivered, by what is wrong with them.", "reason")
	for err, reason := range invalidNames {
		m.invalid[err] = invalid.WithLabelValues(reason)
	}
	failures := counters("publish_failures_total", "Attempts to publish that failed, by reason.", "reason")
	for _, reason := range failReasons {
		m.failures[reason] = failures.WithLabelValues(reason)
	}
	drops := counters("outbox_dropped_messages_total", "Messages that the outbox gave up, by reason.", "reason")
	for _, reason := range dropReasons {
		m.outboxDrops[reason] = drops.WithLabelValues(reason)
	}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "tidings", Subsystem: "bus", Name: "read_seconds", Help: "Seconds that a read of the stream took, by kind.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
	}, []string{"read"})
	readFailures := counters("read_failures_total", "Reads of the stream that failed, by kind.", "read")
	messages := counters("read_messages_total", "Messages that reads of the stream brought, by kind.", "read")
	for _, name := range readNames {
		m.read[name] = readMetrics{seconds.WithLabelValues(name), readFailures.WithLabelValues(name), messages.WithLabelValues(name)}
	}
	asked := counters("actions_asked_total", "Actions that a publisher was asked for, by how they ended: ok or a code of the protocol.", "outcome")
	for _, outcome := range append([]string{outcomeOK}, ActionCodes...) {
		m.asked[outcome] = asked.WithLabelValues(outcome)
	}
	unserved := counters("actions_unserved_total", "Requests for actions that were refused before anybody looked at what they ask for, by reason.", "reason")
	for _, reason := range unservedReasons {
		m.unserved[reason] = unserved.WithLabelValues(reason)
	}
	m.all = []prometheus.Collector{m.connected, m.streamUsable, m.reconnects, m.left, m.epochs, m.subscriptions, m.drops, invalid,
		m.published, failures, m.ackSeconds, m.buffered, m.bufferedBytes, m.retries, drops, seconds, readFailures, messages,
		asked, unserved, m.answersLost}
	return m
}

// register puts all on registerer, or none.
func (m *metrics) register(registerer prometheus.Registerer, nc *nats.Conn) error {
	if registerer == nil {
		return nil
	}
	m.all = append(m.all,
		traffic("received_messages_total", "Messages received from NATS.", nc, func(s nats.Statistics) uint64 { return s.InMsgs }),
		traffic("received_bytes_total", "Bytes of the messages received from NATS.", nc, func(s nats.Statistics) uint64 { return s.InBytes }),
		traffic("sent_messages_total", "Messages sent to NATS.", nc, func(s nats.Statistics) uint64 { return s.OutMsgs }),
		traffic("sent_bytes_total", "Bytes of the messages sent to NATS.", nc, func(s nats.Statistics) uint64 { return s.OutBytes }))
	for i, collector := range m.all {
		if err := registerer.Register(collector); err != nil {
			m.all = m.all[:i]
			m.unregister(registerer)
			return fmt.Errorf("register the metrics of the bus: %w", err)
		}
	}
	return nil
}

// unregister makes room for a next Conn on the same registerer.
func (m *metrics) unregister(registerer prometheus.Registerer) {
	if registerer == nil {
		return
	}
	for _, collector := range m.all {
		registerer.Unregister(collector)
	}
}

func (m *metrics) setState(s State) {
	m.connected.Set(oneIf(s.Connected))
	m.streamUsable.Set(oneIf(s.Connected && s.Epoch != ""))
}

// failed counts one failed attempt to publish.
func (m *metrics) failed(err error) {
	switch {
	case errors.Is(err, ErrConflict):
		m.failures[failConflict].Inc()
	case isFinal(err):
		m.failures[failRefused].Inc()
	case errors.Is(err, ErrNoStream):
		m.failures[failNoStream].Inc()
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed):
		m.failures[failUnavailable].Inc()
	default:
		m.failures[failTimeout].Inc()
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidings", Subsystem: "bus", Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tidings", Subsystem: "bus", Name: name, Help: help}, []string{label})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tidings", Subsystem: "bus", Name: name, Help: help})
}

// traffic is read from NATS' client when it is asked for.
func traffic(name, help string, nc *nats.Conn, value func(nats.Statistics) uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(
		prometheus.CounterOpts{Namespace: "tidings", Subsystem: "bus", Name: name, Help: help},
		func() float64 { return float64(value(nc.Stats())) })
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
