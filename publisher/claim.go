package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
)

// ErrHostTaken says that another publisher publishes under this host's name.
var ErrHostTaken = errors.New("host name is taken")

// errNotFree says that NATS refused to let us have the name because of a message
// that was there before we began to wait, and that we did not see then.
var errNotFree = errors.New("another publisher's last message has not lapsed yet")

const (
	// instanceHeader names the publisher that a host message is from.
	instanceHeader = "Tidings-Publisher"
	claimPoll      = time.Second     // between two looks at what NATS retains
	claimTimeout   = 5 * time.Second // for NATS to answer
)

// claim is the right to publish as a host. It is held by keeping the last message
// of host.<host>: each is published on the condition that the one before is the
// publisher's own (Nats-Expected-Last-Subject-Sequence), and lapses unless it is
// renewed in time. So NATS itself decides between two, and no other subject, lock
// or key is needed.
type claim struct {
	bus      *bus.Conn
	topic    bus.Topic
	host     string
	instance string        // of this process
	ttl      time.Duration // after which a message that is not renewed lapses
	logger   *slog.Logger
	gauge    prometheus.Gauge

	free chan struct{} // closed when nobody else holds the claim: sources may start
	held chan struct{} // closed when it is first held, or done without: sending may start
	news chan struct{} // has room for one: there is a newest

	mu     sync.Mutex
	newest []byte // payload of the newest host reading; nil: none yet
	state  error  // why nothing is published; nil: it is

	// Owned by run, and after its end by leave.
	end     uint64 // of the stream when waiting began: whoever has published behind it is alive
	last    uint64 // place of our newest message, or of the marker that ours is to follow
	said    bool   // a message of ours may be there, acknowledged or not
	holding bool
}

func newClaim(conn *bus.Conn, topic bus.Topic, host string, logger *slog.Logger, gauge prometheus.Gauge) *claim {
	return &claim{
		bus: conn, topic: topic, host: host, instance: newInstance(), ttl: bus.TTL(topic), logger: logger, gauge: gauge,
		free: make(chan struct{}), held: make(chan struct{}), news: make(chan struct{}, 1),
		state: errors.New("not started"),
	}
}

// offer hands over what to say of the host; the newest counts.
func (c *claim) offer(payload []byte) {
	c.mu.Lock()
	c.newest = payload
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// doWithout lets a publisher send that has no host reading, and so no claim.
func (c *claim) doWithout() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil {
		c.logger.Warn("no source describes this host, so its name is not claimed: a second publisher would go unnoticed")
		c.open()
	}
}

// open lets sending start. mu is held.
func (c *claim) open() {
	c.state = nil
	select {
	case <-c.held:
	default:
		close(c.held)
	}
}

// ready is nil while this publisher may publish.
func (c *claim) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// run takes the claim and renews it until ctx ends, or until another publisher
// turns out to have it.
func (c *claim) run(ctx context.Context) error {
	defer c.gauge.Set(0)
	if err := c.await(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	close(c.free)

	away := trouble{logger: c.logger, what: "the host is not announced"}
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			c.setState(errors.New("stopped"))
			return nil
		case <-c.news:
		case <-again.C:
		}
		err := c.renew(ctx)
		if errors.Is(err, errNotFree) {
			err = c.await(ctx)
			again.Reset(0)
		}
		switch {
		case errors.Is(err, ErrHostTaken):
			return err
		case ctx.Err() != nil:
			c.setState(errors.New("stopped"))
			return nil
		case err != nil:
			again.Reset(claimPoll)
		}
		away.report(err)
	}
}

// await returns nil when nobody else seems to have the claim. A publisher that
// crashed leaves its last message behind, which lapses; a live one renews it. That
// one message follows another is no sign of life by itself, since a replica that lags
// may have told of the one before. It is when the stream did not have it yet, as its
// leader knows, when waiting began.
func (c *claim) await(ctx context.Context) error {
	c.awaitStream(ctx)
	away := trouble{logger: c.logger, what: "can't see whether another publisher has this host's name"}
	poll := time.NewTicker(claimPoll)
	defer poll.Stop()
	var other bus.Message
	begun := false
	for since := time.Now(); ctx.Err() == nil; {
		var last bus.Message
		found, err := false, error(nil)
		if !begun {
			err = c.begin(ctx)
			begun = err == nil
		}
		if begun {
			last, found, err = c.look(ctx)
		}
		away.report(err)
		switch {
		case err != nil:
			c.setState(fmt.Errorf("waiting for NATS: %w", err))
			since = time.Now() // whoever could not reach NATS either gets its time again
		case !found:
			return nil
		case last.Seq > c.end:
			return c.taken(last)
		case other.Seq == 0:
			other, since = last, time.Now()
			c.setState(fmt.Errorf("waiting for the claim of %s to the name of host %q to lapse", owner(other), c.host))
			c.logger.Warn("another publisher has published as this host; waiting whether it still does",
				"host", c.host, "instance", owner(other), "at most", c.ttl)
		case time.Since(since) > 2*c.ttl:
			c.logger.Warn("what the other publisher said does not lapse, nor is it renewed; taking over", "host", c.host)
			c.last = last.Seq
			return nil
		}
		select {
		case <-ctx.Done():
		case <-poll.C:
		}
	}
	return nil
}

// awaitStream gives NATS and the stream, which this very process may be making
// just now, some time to be there before that they are not is worth a word.
func (c *claim) awaitStream(ctx context.Context) {
	c.setState(errors.New("waiting for NATS"))
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	_ = c.bus.WaitReady(ctx) // what is wrong is seen next
}

// begin notes where the stream ends, so that what is published from now on can be told.
func (c *claim) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	at, sure, err := c.bus.End(ctx)
	if err == nil && !sure {
		err = errors.New("the stream's leader has not heard of most of its replicas lately")
	}
	c.end = at.Seq
	return err
}

// renew says the newest that there is to say of the host.
func (c *claim) renew(ctx context.Context) error {
	if err := c.say(ctx, bus.PublishOptions{TTL: c.ttl}); err != nil {
		return err
	}
	c.hold()
	return nil
}

// say publishes the newest, unless another publisher has said something.
func (c *claim) say(ctx context.Context, o bus.PublishOptions) error {
	err := c.publish(ctx, o)
	if !errors.Is(err, bus.ErrConflict) {
		return err
	}
	// The topic's last message is another than the one that we know of.
	last, found, lookErr := c.look(ctx)
	if lookErr != nil {
		return lookErr
	}
	place := placeInConflict(err)
	if last.Seq < place {
		return fmt.Errorf("the replica of the stream that answered has not come to #%d yet", place)
	}
	if found && last.Header.Get(instanceHeader) != c.instance {
		c.said, c.holding = false, false
		c.gauge.Set(0)
		if last.Seq <= c.end {
			return errNotFree
		}
		return c.taken(last)
	}
	// Our own, whose ack was lost. Or a marker: the publisher before has stopped, or
	// NATS was away for longer than ours was to live. Or nothing at all: the stream
	// was made anew.
	if c.last = place; c.last == 0 {
		c.last = last.Seq
	}
	return c.publish(ctx, o)
}

func (c *claim) publish(ctx context.Context, o bus.PublishOptions) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	c.mu.Lock()
	payload := c.newest
	c.mu.Unlock()

	c.said = true
	o.ExpectLast = &c.last
	o.Header = map[string]string{instanceHeader: c.instance}
	seq, err := c.bus.Publish(ctx, c.topic, payload, o)
	if err != nil {
		return err
	}
	c.last = seq
	return nil
}

// look asks for the topic's last message, and whether it is one that lives: a marker is none.
func (c *claim) look(ctx context.Context) (last bus.Message, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	last, found, err = c.bus.Newest(ctx, c.topic)
	return last, found && !last.Gone, err
}

func (c *claim) hold() {
	c.gauge.Set(1)
	if !c.holding {
		c.logger.Info("holding the host's name", "host", c.host)
	}
	c.holding = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open()
}

// taken is the end: another publisher is alive, or was less than a claim's life ago.
func (c *claim) taken(by bus.Message) error {
	err := fmt.Errorf("%w: another publisher, %s, publishes as host %q: stop that one, or give this one another name with --host",
		ErrHostTaken, owner(by), c.host)
	c.setState(err)
	return err
}

// leave says that this host is gone, by the marker that NATS itself would leave
// once the last message has lapsed.
func (c *claim) leave(ctx context.Context) {
	if !c.said {
		return
	}
	if err := c.say(ctx, bus.PublishOptions{Gone: true}); err != nil {
		c.logger.Warn("could not say that this host goes; that will be seen when its claim lapses", "after", c.ttl, "error", err)
	}
}

func (c *claim) setState(state error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
}

// owner is where to look for the publisher that sent a host message.
func owner(m bus.Message) string {
	if from := m.Header.Get(instanceHeader); from != "" {
		return from
	}
	return "of no name"
}
