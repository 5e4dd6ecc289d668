package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tidings/edge/poll"
)

// connector opens all clients and hands those that read over to the crowds.
type connector struct {
	dialer dialer
	crowds []*crowd

	mu       sync.Mutex
	next     int            // client
	took     latency        // from when a connection was due until it was subscribed
	opened   int            //
	failed   map[string]int // by what went wrong
	readers  []int          // of each topic
	sleepers []net.Conn     // clients that do not read
}

// dialers is how many connections are opened side by side at most.
const dialers = 64

func newConnector(cfg Config, t topics, crowds []*crowd) *connector {
	return &connector{
		dialer: dialer{cfg, t}, crowds: crowds,
		took: newLatency(), failed: map[string]int{}, readers: make([]int, cfg.Topics),
	}
}

// run opens the clients, one alone at first: if that one fails there is no point in going on. When ctx ends it stops
// where it is, which is no error.
func (c *connector) run(ctx context.Context) error {
	start := time.Now()
	i, due := c.take(start)
	if err := c.open(ctx, i, due); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var workers sync.WaitGroup
	for range min(dialers, c.dialer.cfg.Clients) {
		workers.Go(func() {
			for {
				i, due := c.take(start)
				if i < 0 || !pause(ctx, due) {
					return
				}
				if err := c.open(ctx, i, due); err != nil && ctx.Err() == nil {
					c.mu.Lock()
					c.failed[inShort(err)]++
					c.mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	return nil
}

// take is the next client to be opened and when it is due; below 0: there are no more.
func (c *connector) take(start time.Time) (i int, due time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i = c.next; i == c.dialer.cfg.Clients {
		return -1, due
	}
	c.next++
	if rate := c.dialer.cfg.ConnectRate; rate > 0 {
		return i, start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	}
	return i, time.Now()
}

// open opens one client and hands it over.
func (c *connector) open(ctx context.Context, i int, due time.Time) error {
	conn, left, err := c.dialer.open(ctx, i)
	if err != nil {
		return err
	}
	cfg := &c.dialer.cfg
	took := time.Since(due)
	var bare poll.Accepted
	if !cfg.slow(i) {
		if bare, err = poll.Bare(conn); err != nil {
			conn.Close()
			return err
		}
		c.crowds[i%len(c.crowds)].add(arrival{socket: bare, left: left, first: cfg.firstTopic(i)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	c.took.record(took, 1)
	if cfg.slow(i) {
		c.sleepers = append(c.sleepers, conn)
		return nil
	}
	for k := range cfg.Subscriptions {
		c.readers[(cfg.firstTopic(i)+k)%cfg.Topics]++
	}
	return nil
}

// count is how far it has got.
func (c *connector) count() (opened, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.failed {
		failed += n
	}
	return c.opened, failed
}

// close closes the clients that do not read. The others are their crowds'.
func (c *connector) close() {
	for _, conn := range c.sleepers {
		conn.Close()
	}
}

// inShort leaves out of an error what differs from connection to connection, so that equal ones can be counted.
func inShort(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && !noPorts(err) {
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	}
	return err.Error()
}

// pause waits until due, or returns false if ctx ends first.
func pause(ctx context.Context, due time.Time) bool {
	for {
		left := time.Until(due)
		if ctx.Err() != nil {
			return false
		}
		if left <= 0 {
			return true
		}
		sleep(min(left, 50*time.Millisecond))
	}
}
