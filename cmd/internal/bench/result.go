package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tidings/bus"
)

// Result is what a run measured.
type Result struct {
	Load        Scenario    `json:"load"`
	Began       time.Time   `json:"began"`
	Version     string      `json:"version,omitempty"` // of the program that measured
	Machine     Machine     `json:"machine"`
	Floor       bool        `json:"floor,omitempty"` // it was not an edge that was measured, but the least a server can do
	Interrupted bool        `json:"interrupted,omitempty"`
	Connections Connections `json:"connections"`
	Messages    *Messages   `json:"messages,omitempty"` // nil: none were published
	Deliveries  *Deliveries `json:"deliveries,omitempty"`
	Latency     latency     `json:"latency_ms"` // from when a message was due until a client had it
	Storm       *Storm      `json:"storm,omitempty"`
	Churn       *Churn      `json:"churn,omitempty"`
	Server      *Server     `json:"server,omitempty"` // nil: nobody said which processes the edges are
	OwnCores    float64     `json:"own_cores,omitempty"`
}

// Connections is how connecting went.
type Connections struct {
	Opened    int            `json:"opened"`
	Slow      int            `json:"slow,omitempty"` // those of them that do not read
	Failed    map[string]int `json:"failed,omitempty"`
	Lost      map[string]int `json:"lost,omitempty"` // that ended before they should
	PerSecond float64        `json:"per_second"`
	Took      latency        `json:"took_ms"` // from when a connection was due until it was subscribed
}

// Messages is how publishing went, while it was measured.
type Messages struct {
	Published int64          `json:"published"` // that the stream acknowledged
	Failed    map[string]int `json:"failed,omitempty"`
	PerSecond float64        `json:"per_second"`
	Late      latency        `json:"late_ms"` // from when a message was due until it was handed to NATS' client
}

// Deliveries is what arrived of the messages that were measured.
type Deliveries struct {
	Expected       int64   `json:"expected"`
	Arrived        int64   `json:"arrived"`
	Holes          int64   `json:"holes,omitempty"`    // messages whose predecessor on the topic did not come
	Repeated       int64   `json:"repeated,omitempty"` // twice, or out of order
	Strangers      int64   `json:"strangers,omitempty"`
	Gaps           int64   `json:"gaps,omitempty"` // losses that the edge told of
	Unrest         int64   `json:"unrest,omitempty"`
	Conflating     bool    `json:"conflating,omitempty"` // only the newest counts: what is skipped is no loss
	Unchecked      bool    `json:"unchecked,omitempty"`  // the floor's messages have no place by which to tell
	PerSecond      float64 `json:"per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

// Server is what the edges paid, all of them together.
type Server struct {
	CPUPerConnect    float64 `json:"cpu_us_per_connect"` // with its subscribe
	BytesPerClient   float64 `json:"resident_bytes_per_connection"`
	Bytes            int64   `json:"resident_bytes"`                       // with all clients connected
	BytesLoaded      int64   `json:"resident_bytes_loaded,omitempty"`      // at the end
	CPUPerDelivery   float64 `json:"cpu_us_per_delivery,omitempty"`        //
	CPUPerIdleSecond float64 `json:"cpu_us_per_idle_connection,omitempty"` // and second
	Cores            float64 `json:"cores"`                                // busy while it was measured
}

// connected takes in how connecting went.
func (r *Result) connected(c *connector, took time.Duration) {
	r.Connections = Connections{
		Opened: c.opened, Slow: len(c.sleepers), Failed: c.failed, Took: c.took,
		PerSecond: float64(c.opened) / took.Seconds(),
	}
}

// lost takes in which connections ended.
func (r *Result) lost(t *tally) {
	if len(t.lost) > 0 {
		r.Connections.Lost = t.lost
	}
}

// loaded takes in how a load went between two moments.
func (r *Result) loaded(run *run, first, last snapshot) {
	took := last.at.Sub(first.at).Seconds()
	if took <= 0 {
		return // interrupted before
	}
	final := run.count()
	r.lost(&final)
	p := run.publisher
	var measured int64
	for _, n := range p.measured {
		measured += n
	}
	arrived := float64(last.tally.arrived - first.tally.arrived)
	r.Messages = &Messages{Published: measured, Failed: p.failed, PerSecond: float64(measured) / took, Late: p.late}
	r.Deliveries = &Deliveries{
		Expected: p.expected(run.connector.readers), Arrived: final.latency.TotalCount(),
		Holes: final.holes, Repeated: final.repeated, Strangers: final.strangers, Gaps: final.gaps, Unrest: final.unrest,
		Conflating: run.cfg.conflating(), Unchecked: run.cfg.Floor,
		PerSecond: arrived / took, BytesPerSecond: float64(last.tally.bytes-first.tally.bytes) / took,
	}
	r.Latency = final.latency
	if run.storm != nil {
		r.Storm = run.storm.result(&final)
	}
	if run.churn != nil {
		r.Churn = run.churn.result(run.cfg.Duration)
	}
	r.OwnCores = (last.own - first.own).Seconds() / took
	if s := r.Server; s != nil {
		used := last.server.cpu - first.server.cpu
		s.Cores, s.BytesLoaded = used.Seconds()/took, last.server.rss
		if arrived > 0 {
			s.CPUPerDelivery = micros(used) / arrived
		}
	}
}

func newServer(opened int, before, after usage) *Server {
	return &Server{
		CPUPerConnect:  micros(after.cpu-before.cpu) / float64(opened),
		BytesPerClient: float64(after.rss-before.rss) / float64(opened),
		Bytes:          after.rss,
	}
}

func (s *Server) idled(used, took time.Duration, clients int) {
	s.Cores = used.Seconds() / took.Seconds()
	s.CPUPerIdleSecond = micros(used) / float64(clients) / took.Seconds()
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// Fault says all that went wrong; nil: everything arrived, and in order. Slow clients are not expected to get anything.
func (r *Result) Fault() error {
	var faults []error
	fault := func(n int64, what string) {
		if n > 0 {
			faults = append(faults, fmt.Errorf("%s %s", thousands(n), what))
		}
	}
	each := func(what string, list map[string]int) {
		for _, why := range slices.Sorted(maps.Keys(list)) {
			faults = append(faults, fmt.Errorf("%s %s: %s", thousands(list[why]), what, why))
		}
	}
	each("connections failed", r.Connections.Failed)
	each("connections were lost", r.Connections.Lost)
	if s := r.Storm; s != nil {
		each("connections of the storm failed", s.Failed)
	}
	if c := r.Churn; c != nil {
		each("clients that subscribe and unsubscribe failed", c.Failed)
	}
	if m := r.Messages; m != nil {
		each("messages could not be published", m.Failed)
	}
	if d := r.Deliveries; d != nil {
		if !d.Conflating {
			missing := "deliveries are missing"
			if d.Arrived == 0 {
				missing += ", which is all of them: is --nats the NATS of that edge, and --prefix its prefix?"
			}
			fault(d.Expected-d.Arrived, missing)
			fault(d.Holes, "messages came without the one before them")
		}
		fault(d.Repeated, "messages came twice, or out of order")
		fault(d.Strangers, "messages came that nobody had subscribed to")
		fault(d.Gaps, "times the edge said that messages are lost")
	}
	return errors.Join(faults...)
}

// MarshalJSON writes durations in seconds.
func (s Scenario) MarshalJSON() ([]byte, error) {
	type plain Scenario
	return json.Marshal(struct {
		plain
		Duration float64 `json:"duration_seconds"`
		Warmup   float64 `json:"warmup_seconds"`
	}{plain(s), s.Duration.Seconds(), s.Warmup.Seconds()})
}

// conflating says whether only the newest message of a topic counts (PROTOCOL §1).
func (c Config) conflating() bool { return bus.Topic(c.Topic).Delivery() == bus.Latest }
