package bench

import (
	"context"
	"net"
	"sync"
	"time"
)

// storm is clients that all connect at once in the midst of a load: as after a network came back, or an edge died.
type storm struct {
	cfg    Config // of the storm's own clients
	dialer dialer

	mu     sync.Mutex
	opened []net.Conn
	failed map[string]int
	took   latency // from the moment that each was begun until it was subscribed
	begin  time.Time
	end    time.Time
}

// Storm is how a storm went, and what it did to those who were there.
type Storm struct {
	Opened        int            `json:"opened"`
	Failed        map[string]int `json:"failed,omitempty"`
	Seconds       float64        `json:"seconds"` // until all were subscribed
	PerSecond     float64        `json:"per_second"`
	Took          latency        `json:"took_ms"`
	LatencyBefore latency        `json:"latency_before_ms"` // of messages to the others that were due before it
	LatencyDuring latency        `json:"latency_during_ms"`
	LatencyAfter  latency        `json:"latency_after_ms"`
}

// stormSubscriptions is how many topics each of them subscribes to. Nobody publishes on them.
const (
	stormSubscriptions = 5
	stormTopics        = 100
)

func newStorm(cfg Config) *storm {
	own := cfg
	own.Clients, own.Topics, own.Subscriptions, own.Slow, own.Deflate = cfg.Storm, stormTopics, stormSubscriptions, 0, false
	return &storm{cfg: own, dialer: dialer{own, ownTopics(cfg.Topic)}, failed: map[string]int{}, took: newLatency()}
}

// run opens all clients as fast as the edge takes them, between two times of which it tells the crowds.
func (s *storm) run(ctx context.Context, begin time.Time, crowds []*crowd) {
	if !pause(ctx, begin) {
		return
	}
	s.begin = begin
	next := make(chan int)
	var workers sync.WaitGroup
	for range dialers {
		workers.Go(func() {
			for i := range next {
				s.open(ctx, i)
			}
		})
	}
	for i := range s.cfg.Clients {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	s.end = time.Now()
	for _, c := range crowds {
		c.calm(s.end)
	}
}

func (s *storm) open(ctx context.Context, i int) {
	start := time.Now()
	conn, _, err := s.dialer.open(ctx, i)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.opened = append(s.opened, conn)
		s.took.record(time.Since(start), 1)
	case ctx.Err() == nil:
		s.failed[inShort(err)]++
	}
}

// close ends its clients.
func (s *storm) close() {
	for _, conn := range s.opened {
		conn.Close()
	}
}

// result is how it went; nil: it did not come to an end.
func (s *storm) result(t *tally) *Storm {
	if s.end.IsZero() {
		return nil
	}
	took := s.end.Sub(s.begin).Seconds()
	return &Storm{
		Opened: len(s.opened), Failed: s.failed, Seconds: took, PerSecond: float64(len(s.opened)) / took, Took: s.took,
		LatencyBefore: t.parts[beforeStorm], LatencyDuring: t.parts[duringStorm], LatencyAfter: t.parts[afterStorm],
	}
}
