package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidings/bus"
)

// publisher publishes on a schedule that nothing holds up: a message that could not be sent in time is sent late,
// and how late it arrives counts from when it was due.
type publisher struct {
	cfg    Config
	conn   *bus.Conn
	names  []bus.Topic
	bodies []string // what fills payloads up

	start time.Time // of the schedule
	since time.Time // messages that are due from then on are measured
	until time.Time // up to then
	jobs  chan job

	mu       sync.Mutex
	sent     int64          // acknowledged by the stream
	measured []int64        // of each topic, those of them that are measured
	failed   map[string]int // by what went wrong
	late     latency        // from when a message was due until it was handed to NATS' client
}

// job is one message.
type job struct {
	topic int
	due   time.Time
}

const (
	outstanding = 256             // messages that NATS has not acknowledged yet, at most
	retained    = time.Minute     // after which NATS forgets a message of the bench
	ackTimeout  = 5 * time.Second // for NATS to take a message
)

func newPublisher(cfg Config, conn *bus.Conn, t topics) (*publisher, error) {
	p := &publisher{
		cfg: cfg, conn: conn, bodies: bodies(cfg.Size),
		jobs: make(chan job, 1<<16), measured: make([]int64, cfg.Topics), failed: map[string]int{}, late: newLatency(),
	}
	for i := range cfg.Topics {
		name, err := bus.ParseTopic(t.name(i))
		if err != nil {
			return nil, err
		}
		p.names = append(p.names, name)
	}
	return p, nil
}

// run publishes until the schedule is over or ctx ends, and returns when NATS has answered for each message.
func (p *publisher) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range outstanding {
		workers.Go(p.work)
	}
	for k := range p.cfg.bursts() {
		due := p.start.Add(p.cfg.due(k))
		if !pause(ctx, due) {
			break
		}
		for b := range p.cfg.Burst {
			p.jobs <- job{topic: (k*p.cfg.Burst + b) % p.cfg.Topics, due: due}
		}
	}
	close(p.jobs)
	workers.Wait()
}

func (p *publisher) work() {
	payload := make([]byte, 0, p.cfg.Size)
	for j := range p.jobs {
		payload = appendPayload(payload[:0], j.due, p.bodies[rand.IntN(len(p.bodies))], p.cfg.Size)
		late := time.Since(j.due)
		ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
		_, err := p.conn.Publish(ctx, p.names[j.topic], payload, bus.PublishOptions{TTL: retained})
		cancel()
		p.note(j, late, err)
	}
}

func (p *publisher) note(j job, late time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late.record(late, 1)
	if err != nil {
		p.failed[err.Error()]++
		return
	}
	p.sent++
	if !j.due.Before(p.since) && j.due.Before(p.until) {
		p.measured[j.topic]++
	}
}

// plan says when the schedule starts and what of it is measured. It is called before run.
func (p *publisher) plan(start, since, until time.Time) {
	p.start, p.since, p.until = start, since, until
}

// expected is how many deliveries the measured messages make, given the readers of each topic.
func (p *publisher) expected(readers []int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int64
	for i, sent := range p.measured {
		n += sent * int64(readers[i])
	}
	return n
}

// appendPayload writes a payload of size bytes.
func appendPayload(b []byte, due time.Time, body string, size int) []byte {
	b = append(b, payloadHead...)
	b = strconv.AppendInt(b, due.UnixNano(), 10)
	return append(append(b, body[:size-len(b)-1]...), '}')
}

// bodies make payloads as large as asked for, and about as compressible as metrics are: names that repeat, numbers that do not.
// Spaces after the last value make the size exact.
func bodies(size int) []string {
	const variants = 16
	head := len(payloadHead) + 19 // with a due time
	source := rand.New(rand.NewPCG(1, 1))
	list := make([]string, variants)
	for i := range list {
		room := size - head - 1
		body := make([]byte, 0, room)
		for k := 0; ; k++ {
			member := fmt.Sprintf(`,"cpu%d":{"user":%.4f,"system":%.4f}`, k, source.Float64(), source.Float64())
			if len(body)+len(member) > room {
				break
			}
			body = append(body, member...)
		}
		list[i] = string(body) + strings.Repeat(" ", room-len(body))
	}
	return list
}
