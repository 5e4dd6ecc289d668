package bench

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"tidings/edge/wire"
)

// churn is subscribes and unsubscribes that go on beside a load, as of people who leaf through pages. Each subscribe is to a topic
// that nobody had before, so that it goes all the way to NATS.
type churn struct {
	cfg    Config
	dialer dialer
	topics topics

	mu     sync.Mutex
	done   int
	failed map[string]int
	took   latency // from when a request was due until its ack
}

// Churn is how the subscribes and unsubscribes went.
type Churn struct {
	Requests  int            `json:"requests"` // both kinds
	Failed    map[string]int `json:"failed,omitempty"`
	PerSecond float64        `json:"per_second"`
	Took      latency        `json:"took_ms"` // from when each was due until its ack
}

// churners is how many connections do it.
const churners = 50

func newChurn(cfg Config) *churn {
	own := cfg
	own.Topics, own.Subscriptions, own.Slow, own.Deflate = churners, 1, 0, false
	t := ownTopics(cfg.Topic)
	return &churn{cfg: cfg, dialer: dialer{own, t}, topics: t, failed: map[string]int{}, took: newLatency()}
}

// run asks on schedule from start until ctx ends or the time is over.
func (c *churn) run(ctx context.Context, start, until time.Time) {
	var workers sync.WaitGroup
	for i := range churners {
		workers.Go(func() {
			if err := c.leaf(ctx, i, start, until); err != nil && ctx.Err() == nil {
				c.mu.Lock()
				c.failed[inShort(err)]++
				c.mu.Unlock()
			}
		})
	}
	workers.Wait()
}

// leaf is one connection's part of it.
func (c *churn) leaf(ctx context.Context, i int, start, until time.Time) error {
	conn, left, err := c.dialer.open(ctx, i)
	if err != nil {
		return err
	}
	defer conn.Close()
	every := time.Duration(churners / c.cfg.Churn * float64(time.Second))
	due := start.Add(time.Duration(i) * every / churners)
	for k := 0; due.Before(until) && pause(ctx, due); k++ {
		r := wire.Request{Type: wire.Subscribe, ID: uint64(k + 2),
			Topics: []wire.Want{{Topic: string(c.topics) + strconv.Itoa(i) + "-" + strconv.Itoa(k/2), Snapshot: true}}}
		if k%2 == 1 {
			r.Type = wire.Unsubscribe
		}
		if left, err = c.ask(conn, left, r); err != nil {
			return err
		}
		c.mu.Lock()
		c.done++
		c.took.record(time.Since(due), 1)
		c.mu.Unlock()
		due = due.Add(every)
	}
	return nil
}

func (c *churn) ask(conn net.Conn, left []byte, r wire.Request) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	return ask(conn, left, r)
}

// result is how it went over the time from start to end.
func (c *churn) result(took time.Duration) *Churn {
	return &Churn{Requests: c.done, Failed: c.failed, PerSecond: float64(c.done) / took.Seconds(), Took: c.took}
}
