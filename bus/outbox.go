package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// OutboxConfig bounds an Outbox.
type OutboxConfig struct {
	Window     int           // messages sent and not yet acknowledged; default 256
	MaxEvery   int           // waiting messages of topics with delivery Every; default 10,000
	MaxBytes   int           // payload bytes of all that waits; default 64 MiB
	AckTimeout time.Duration // then a message is sent once more; default 5 s
	Grace      time.Duration // at the end of Run, to publish what is due; default 5 s
}

// Validate names every fault at once, each by its key.
func (c OutboxConfig) Validate() error {
	c = c.withDefaults()
	var faults []error
	for key, ok := range map[string]bool{"window": c.Window > 0, "max_every": c.MaxEvery > 0, "max_bytes": c.MaxBytes > 0,
		"ack_timeout": c.AckTimeout > 0, "grace": c.Grace > 0} {
		if !ok {
			faults = append(faults, fmt.Errorf("outbox.%s: must be above 0", key))
		}
	}
	return errors.Join(faults...)
}

func (c OutboxConfig) withDefaults() OutboxConfig {
	orElse(&c.Window, 256)
	orElse(&c.MaxEvery, 10_000)
	orElse(&c.MaxBytes, 64<<20)
	orElse(&c.AckTimeout, 5*time.Second)
	orElse(&c.Grace, 5*time.Second)
	return c
}

const (
	firstPause = 100 * time.Millisecond // after a message failed, doubled up to
	maxPause   = 5 * time.Second
)

// Outbox publishes in the background, and keeps what NATS cannot take at the moment: the newest message of each topic with
// delivery Latest, and all of the others up to a limit, beyond which the oldest go. What is lost is counted by reason.
//
// The messages of one topic are published in the order of Put, each after the one before was acknowledged, so that no
// retry can turn them around. Between topics there is no order. A message that is sent once more keeps its id, so that the
// stream takes it once, however long the line was down, up to StreamConfig.Duplicates.
type Outbox struct {
	conn *Conn
	cfg  OutboxConfig
	id   string        // of this outbox: the beginning of its messages' ids
	wake chan struct{} // room for one: there may be something to send
	box  *lanes        // has a lock of its own

	// Owned by Run.
	acks   chan *nats.Msg
	inbox  string
	up     context.Context // ends when the line breaks on which the flying messages were sent; nil: it is broken
	pause  time.Duration   // how long to wait after the next failure
	resume time.Time       // nothing is sent before

	mu         sync.Mutex
	complained map[string]time.Time // when last, by what
}

// NewOutbox makes an Outbox. A faulty cfg is a bug of the caller, and panics: Validate says so before.
func (c *Conn) NewOutbox(cfg OutboxConfig) *Outbox {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg = cfg.withDefaults()
	return &Outbox{
		conn:  c,
		cfg:   cfg,
		id:    rand.Text(),
		wake:  make(chan struct{}, 1),
		box:   newLanes(cfg, c.metrics),
		inbox: c.nc.NewInbox(),
		pause: firstPause,

		complained: map[string]time.Time{},
	}
}

// Put hands over payload, which must not be changed any more. It never blocks. Before Run it waits, after Run it is dropped.
func (o *Outbox) Put(t Topic, payload []byte, opt PublishOptions) {
	id := o.box.nextID()
	if opt.MsgID == "" {
		opt.MsgID = o.id + "." + strconv.FormatUint(id, 10)
	}
	m, err := o.conn.outgoing(t, payload, opt)
	if err != nil {
		o.conn.metrics.outboxDrops[dropInvalid].Inc()
		o.complain("message is not fit to be published, dropped", t, err)
		return
	}
	m.Reply = o.inbox + "." + strconv.FormatUint(id, 10)
	o.box.put(&parcel{id: id, topic: t, msg: m})
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends, then for at most Grace what is still there. The error says how many messages are left.
// It is called once.
func (o *Outbox) Run(ctx context.Context) error {
	// Late acknowledgements of messages that were sent twice take room too.
	o.acks = make(chan *nats.Msg, 4*o.cfg.Window)
	sub, err := o.conn.nc.ChanSubscribe(o.inbox+".*", o.acks)
	if err != nil {
		return fmt.Errorf("outbox: %w", lineError(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the line is closed, and the subscription with it
	overdue := time.NewTicker(max(o.cfg.AckTimeout/4, time.Millisecond))
	defer overdue.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	ending, over := ctx.Done(), (<-chan time.Time)(nil)
	for {
		changed := o.followLine()
		o.send()
		if ending == nil && o.box.empty() {
			o.box.close()
			return nil
		}
		pause.Reset(max(0, time.Until(o.resume)))
		resumed := pause.C
		if o.resume.IsZero() {
			resumed = nil
		}
		select {
		case <-o.wake:
		case m := <-o.acks:
			o.acknowledge(m)
		case <-changed:
		case <-overdue.C:
			o.sendAgainOverdue()
		case <-resumed:
			o.resume = time.Time{}
			o.box.setStalled(false)
		case <-ending:
			grace := time.NewTimer(o.cfg.Grace)
			defer grace.Stop()
			ending, over = nil, grace.C
		case <-over:
			if left := o.box.close(); left > 0 {
				return fmt.Errorf("outbox: %d messages could not be published within %v", left, o.cfg.Grace)
			}
			return nil
		}
	}
}

// followLine takes back what was flying when the line broke. The channel is closed when the line's state changes.
func (o *Outbox) followLine() <-chan struct{} {
	changed := o.conn.Changed()
	if o.up != nil && o.up.Err() != nil {
		o.up = nil
		o.box.setStalled(true)
		o.box.takeBackAll()
	}
	if o.up == nil {
		up, err := o.conn.isUp()
		if err != nil {
			o.box.setStalled(true)
		} else {
			o.up = up
			o.pause, o.resume = firstPause, time.Time{}
			o.box.setStalled(false)
		}
	}
	return changed
}

func (o *Outbox) send() {
	if o.up == nil || !o.resume.IsZero() {
		return
	}
	for p := o.box.next(); p != nil; p = o.box.next() {
		if p.tries++; p.tries > 1 {
			o.conn.metrics.retries.Inc()
		}
		p.sentAt = time.Now()
		if err := o.conn.nc.PublishMsg(p.msg); err != nil {
			o.failed(p, o.conn.publishError(err))
			return
		}
	}
}

func (o *Outbox) acknowledge(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(o.inbox)+1:], 10, 64)
	if err != nil {
		return // somebody else's
	}
	p := o.box.flying(id)
	if p == nil {
		return // the answer to an attempt that was given up
	}
	if _, err := o.conn.readAck(m); err != nil {
		o.failed(p, err)
		return
	}
	o.conn.metrics.ackSeconds.Observe(time.Since(p.sentAt).Seconds())
	o.pause = firstPause
	o.box.landed(p)
}

// failed puts p back to be sent once more after a pause, or drops it if that is of no use.
func (o *Outbox) failed(p *parcel, err error) {
	o.conn.metrics.failed(err)
	if isFinal(err) {
		o.box.landed(p)
		o.conn.metrics.outboxDrops[dropRefused].Inc()
		o.complain("NATS refuses a message, dropped", p.topic, err)
		return
	}
	o.complain("NATS did not take a message, trying again", p.topic, err)
	o.box.setStalled(true)
	o.box.takeBack(p)
	if o.resume.IsZero() { // many may fail at once, of one cause
		o.resume = time.Now().Add(o.pause)
		o.pause = min(2*o.pause, maxPause)
	}
}

func (o *Outbox) sendAgainOverdue() {
	for _, p := range o.box.sentBefore(time.Now().Add(-o.cfg.AckTimeout)) {
		o.failed(p, fmt.Errorf("no acknowledgement within %v", o.cfg.AckTimeout))
	}
}

// complain logs what is new, and what is old once a minute.
func (o *Outbox) complain(what string, t Topic, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.Sub(o.complained[what]) > time.Minute {
		o.complained[what] = now
		o.conn.log.Warn(what, "topic", t, "error", err)
	}
}
