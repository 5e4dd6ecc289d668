package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"tidings/bus"
)

const (
	hostType   = "host"             // of the readings that claim the host's name
	actionType = "container-action" // of the audit
)

// Publisher runs sources and publishes what they emit, as one host. It runs once.
type Publisher struct {
	config  Config
	token   string // the host's, in topics
	metrics *metrics
	claim   *claim
	outbox  *bus.Outbox
	workers []*worker
	actions *actionMetrics

	unread atomic.Int32 // sources whose first beat has not ended
}

// New checks the configuration, and that the audit file can be written, which it makes if it is missing. All else happens in Run.
func New(c Config) (*Publisher, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	topic, err := hostTopic(c.Host)
	if err != nil {
		return nil, fmt.Errorf("configuration: host: %w", err)
	}
	if c.Actions != nil { // Run would find out no sooner than NATS is there and the host's name was won
		l := &ledger{path: c.Actions.AuditFile}
		if err := l.open(); err != nil {
			return nil, fmt.Errorf("configuration: actions: audit_file: %w: no action is done without a record, so make that directory, and let this user write there", err)
		}
		l.close()
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	actions, err := newActionMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("metrics of actions: %w", err)
	}
	p := &Publisher{
		config: c, token: bus.HostToken(c.Host), metrics: m, actions: actions,
		claim:  newClaim(c.Bus, topic, c.Host, c.Logger, m.claimed),
		outbox: c.Bus.NewOutbox(bus.OutboxConfig{Grace: c.Grace}),
	}
	for _, s := range c.Sources {
		p.workers = append(p.workers, p.newWorker(s))
	}
	return p, nil
}

func (p *Publisher) newWorker(s Source) *worker {
	w := &worker{
		source: s, metrics: p.metrics.of(s.Name()), first: p.sourceRead,
		logger: p.config.Logger.With("source", s.Name()),
	}
	w.emit = p.emitter(w.metrics, w.logger)
	return w
}

// Ready says why the publisher does not publish, or nil if it does.
func (p *Publisher) Ready() error {
	if err := p.claim.ready(); err != nil {
		return err
	}
	return p.config.Bus.Ready()
}

// Run publishes until ctx ends, and then what is due. It returns ErrHostTaken if
// another publisher has this host's name, and nil if it was stopped.
func (p *Publisher) Run(ctx context.Context) error {
	p.config.Logger.Info("publishing", "host", p.config.Host, "topics", "*."+p.token,
		"version", p.config.Version, "instance", p.claim.instance)
	running, stop := context.WithCancel(ctx)
	defer stop()

	claimed := make(chan error, 1)
	go func() {
		defer stop() // without the claim there is nothing to run for
		claimed <- p.claim.run(running)
	}()
	sources := p.startSources(running)
	acted := p.startActing(running, stop)
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	sent := p.startSending(running, sending, stop)

	<-running.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.Grace)
	defer cancel()
	claimErr := <-claimed
	p.awaitSources(grace, sources)
	actErr := <-acted
	stopSending()
	sendErr := <-sent
	if claimErr == nil {
		p.claim.leave(grace)
	}
	return errors.Join(claimErr, actErr, sendErr)
}

// startActing answers actions once the claim holds: until then another publisher may.
func (p *Publisher) startActing(running context.Context, stop func()) <-chan error {
	acted := make(chan error, 1)
	if p.config.Actions == nil {
		acted <- nil
		return acted
	}
	go func() {
		select {
		case <-p.claim.held:
		case <-running.Done():
			acted <- nil
			return
		}
		err := p.act(running)
		if err != nil {
			stop() // rather than looking well without doing what it is there for
		}
		acted <- err
	}()
	return acted
}

// act answers actions until ctx ends, and then waits for those that run.
func (p *Publisher) act(ctx context.Context) error {
	logger := p.config.Logger.With("part", "actions")
	w, err := newActor(*p.config.Actions, p.token, p.publishAction, logger, p.actions)
	if err != nil {
		return fmt.Errorf("actions: %w", err)
	}
	defer w.close()
	end, err := p.config.Bus.ServeActions(p.token, w.handle, bus.ServeOptions{Version: p.config.Version})
	if err != nil {
		return fmt.Errorf("actions: %w", err)
	}
	logger.Info("answering actions", "verbs", w.Verbs, "audit", w.AuditFile)
	<-ctx.Done()
	// What is left of the grace is for publishing how they ended.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.Grace*3/4)
	defer cancel()
	if err := end(grace); err != nil {
		logger.Warn("actions were not waited for to their end", "error", err)
	}
	return nil
}

// publishAction says on the host's topic how an action ended.
func (p *Publisher) publishAction(r ActionRecord) {
	topic, payload, err := p.encode(Reading{Type: actionType, Payload: r})
	if err != nil {
		p.config.Logger.Error("how an action ended is not published", "error", err)
		return
	}
	p.outbox.Put(topic, payload, bus.PublishOptions{})
}

// startSources begins to beat and watch once nobody else has the host's name.
func (p *Publisher) startSources(ctx context.Context) *sync.WaitGroup {
	var running sync.WaitGroup
	p.unread.Store(int32(len(p.workers)))
	start := func(f func()) {
		running.Go(func() {
			select {
			case <-p.claim.free:
				f()
			case <-ctx.Done():
			}
		})
	}
	for _, w := range p.workers {
		start(func() { w.beat(ctx) })
		if watcher, ok := w.source.(Watcher); ok {
			start(func() { w.watch(ctx, watcher) })
		}
	}
	return &running
}

// startSending lets the outbox send once the claim holds. Until then it keeps
// what it is given, as when NATS is away.
func (p *Publisher) startSending(running, sending context.Context, stop func()) <-chan error {
	sent := make(chan error, 1)
	go func() {
		defer stop() // without the outbox there is nothing to run for
		select {
		case <-p.claim.held:
		case <-running.Done():
		}
		select {
		case <-p.claim.held:
			sent <- p.outbox.Run(sending)
		default:
			sent <- nil // what was emitted is not this publisher's to say
		}
	}()
	return sent
}

// awaitSources waits for all sources to end, but for one that doesn't listen no
// longer than the grace.
func (p *Publisher) awaitSources(grace context.Context, sources *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		sources.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-grace.Done():
		p.config.Logger.Error("a source does not stop, leaving it behind", "after", p.config.Grace)
	}
}

// sourceRead counts first beats. If all sources have been read and none has said
// what host this is, there is no claim to wait for.
func (p *Publisher) sourceRead() {
	if p.unread.Add(-1) == 0 {
		p.claim.doWithout()
	}
}

// emitter is what a source emits by.
func (p *Publisher) emitter(m sourceMetrics, logger *slog.Logger) Emit {
	var mu sync.Mutex // over faults, for any goroutine may emit
	faults := trouble{logger: logger, what: "reading is not published"}
	return func(r Reading) {
		topic, payload, err := p.encode(r)
		mu.Lock()
		faults.report(err)
		mu.Unlock()
		if err != nil {
			m.failures.Inc()
			return
		}
		m.readings.Inc()
		if r.Type == hostType {
			p.claim.offer(payload)
			return
		}
		p.outbox.Put(topic, payload, bus.PublishOptions{TTL: bus.TTL(topic)})
	}
}

func (p *Publisher) encode(r Reading) (bus.Topic, []byte, error) {
	topic, err := bus.ParseTopic(r.Type + "." + p.token)
	if err != nil {
		return "", nil, err
	}
	payload, err := marshal(r.Payload)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", topic, err)
	}
	return topic, payload, nil
}
