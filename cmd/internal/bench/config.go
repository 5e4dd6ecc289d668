package bench

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"tidings/bus"
)

// Config is one load, and what it is put on.
type Config struct {
	Scenario

	URLs  []string   // of edges' WebSockets, to which the clients are dealt in turn; default ws://127.0.0.1:8080/ws
	NATS  bus.Config // where messages are published; the stream is not touched
	PIDs  []int      // processes of the edges, where they are on this machine; none: the edges' costs are not measured
	Token string     // that every client shows; empty: none
	Floor bool       // the other side is `tidings bench serve floor`: it takes no subscribe and sends every message to every client

	Settle   time.Duration  // rest after connecting, before memory is read; default 3 s with PIDs, otherwise 200 ms
	Progress func(Progress) // called now and then while it runs, one at a time; nil: nobody looks
}

// Scenario says how heavy a load is, and of what kind.
type Scenario struct {
	Name          string        `json:"name,omitempty"`         // of a standing scenario; empty: one of the user's own
	Clients       int           `json:"clients"`                // connections; default 1,000
	Topics        int           `json:"topics"`                 // default 1
	Subscriptions int           `json:"subscriptions"`          // of each client; default 1
	Rate          float64       `json:"rate_per_second"`        // messages over all topics; 0: none, the clients are idle
	Burst         int           `json:"burst"`                  // messages that are due at the same moment; default 1
	Size          int           `json:"size_bytes"`             // of a payload; default 512
	Duration      time.Duration `json:"-"`                      // measured; default 10 s
	Warmup        time.Duration `json:"-"`                      // of publishing before anything is measured
	ConnectRate   float64       `json:"connect_rate,omitempty"` // connections a second; 0: as many as the edge takes
	Slow          float64       `json:"slow,omitempty"`         // share of the clients that do not read
	Deflate       bool          `json:"deflate,omitempty"`      // clients offer permessage-deflate
	Storm         int           `json:"storm,omitempty"`        // clients that connect all at once, a third of Duration into it
	Churn         float64       `json:"churn,omitempty"`        // subscribes and unsubscribes a second, of other clients
	Edges         int           `json:"edges,omitempty"`        // that a report starts; default 1. Run is told theirs by URLs
	Topic         string        `json:"topic_type,omitempty"`   // first token of the topics; default bench, whose delivery is `every`
}

// What is measured has to have a place for its due time, and to fit into a message.
const (
	minSize = 64
	maxSize = 1 << 20
)

// spare is how many descriptors the process needs besides those of its clients.
const spare = 64

// Validate names every fault at once, each by the flag that sets it.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, address := range c.URLs {
		u, err := url.Parse(address)
		fault(err == nil && u.Host != "" && (u.Scheme == "ws" || u.Scheme == "wss"), "--url: %q is no address of a WebSocket, as ws://host:port/ws", address)
	}
	fault(c.Clients >= 1, "--clients: %d must be at least 1", c.Clients)
	fault(c.Topics >= 1, "--topics: %d must be at least 1", c.Topics)
	fault(c.Subscriptions >= 1 && c.Subscriptions <= c.Topics, "--subscriptions: %d must be 1 to the number of topics, %d", c.Subscriptions, c.Topics)
	fault(c.Rate >= 0 && c.Rate <= 1e6, "--rate: %v must be 0 to 1,000,000", c.Rate)
	fault(c.Burst >= 1, "--burst: %d must be at least 1", c.Burst)
	fault(c.Size >= minSize && c.Size <= maxSize, "--size: %d must be %d to %d", c.Size, minSize, maxSize)
	fault(c.Duration > 0, "--duration: %v must be above 0", c.Duration)
	fault(c.Warmup >= 0, "--warmup: %v must not be below 0", c.Warmup)
	fault(c.ConnectRate >= 0, "--connect-rate: %v must not be below 0", c.ConnectRate)
	fault(c.Slow >= 0 && c.Slow < 1, "--slow: %v must be 0 or more and below 1", c.Slow)
	fault(c.Storm >= 0, "--storm: %d must not be below 0", c.Storm)
	fault(c.Churn >= 0 && c.Churn <= 100_000, "--churn: %v must be 0 to 100,000", c.Churn)
	fault(c.Rate > 0 || c.Storm == 0 && c.Churn == 0, "--rate: must be above 0 with --storm or --churn: they are measured by what they do to deliveries")
	fault(!c.Floor || c.Storm == 0 && c.Churn == 0, "--floor: it takes no subscribes; leave --storm and --churn out")
	fault(!c.Floor || c.Subscriptions == c.Topics, "--floor: it knows no topics, so each client must subscribe to all %d of them", c.Topics)
	fault(!c.Floor || !c.Deflate, "--floor: it does not compress; leave --deflate out")
	_, err := bus.ParseTopic(c.Topic)
	fault(err == nil && !strings.Contains(c.Topic, "."), "--topic: %q is no single token of A-Z a-z 0-9 _ - that topics may begin with", c.Topic)
	fault(!slices.ContainsFunc(c.PIDs, func(pid int) bool { return pid < 1 }), "--pid: %v must be above 0", c.PIDs)
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if len(c.URLs) == 0 {
		c.URLs = []string{"ws://127.0.0.1:8080/ws"}
	}
	orElse(&c.Clients, 1000)
	orElse(&c.Topics, 1)
	orElse(&c.Subscriptions, 1)
	orElse(&c.Burst, 1)
	orElse(&c.Size, 512)
	orElse(&c.Duration, 10*time.Second)
	orElse(&c.Topic, "bench")
	if len(c.PIDs) > 0 {
		orElse(&c.Settle, 3*time.Second)
	}
	orElse(&c.Settle, 200*time.Millisecond)
	return c
}

// orElse sets what was left at zero.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// bursts is how many bursts are due in warmup and measurement.
func (s Scenario) bursts() int {
	if s.Rate == 0 {
		return 0
	}
	return int(math.Ceil(float64(s.Warmup+s.Duration) / float64(time.Second) * s.Rate / float64(s.Burst)))
}

// due is when the k-th burst is due, from the start of publishing. It is worked out anew for each, so that no error adds up.
func (s Scenario) due(k int) time.Duration {
	return time.Duration(float64(k) * float64(s.Burst) / s.Rate * float64(time.Second))
}

// slow says whether the i-th client is one that does not read. They are spread evenly.
func (s Scenario) slow(i int) bool {
	return int(float64(i+1)*s.Slow) > int(float64(i)*s.Slow)
}

// firstTopic is where the topics of the i-th client begin; the others follow it, round and round.
func (s Scenario) firstTopic(i int) int { return i * s.Subscriptions % s.Topics }
