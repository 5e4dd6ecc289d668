package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"time"

	"tidings/bus"
)

// Run opens the clients, publishes, and measures until the load's duration is over. When ctx ends before that, the result
// is what was measured so far, with Interrupted set. The error is about what could not be measured at all; that some
// connections failed or messages are missing is in the result (see Result.Fault).
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := enoughDescriptors(cfg.Clients + cfg.Storm); err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, topics: ownTopics(cfg.Topic), processes: cfg.PIDs}
	if _, err := r.processes.look(); err != nil {
		return nil, err
	}
	if cfg.Rate > 0 {
		cfg.NATS.Stream.Manage = bus.ManageOperator // an edge made it
		conn, err := ConnectNATS(ctx, cfg.NATS)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if r.publisher, err = newPublisher(cfg, conn, r.topics); err != nil {
			return nil, err
		}
	}
	err := r.measure(ctx)
	if err := errors.Join(err, r.end()); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// run is one run of a load.
type run struct {
	cfg       Config
	topics    topics
	processes processes
	crowds    []*crowd
	connector *connector
	publisher *publisher // nil: nothing is published
	storm     *storm     // nil: there is none
	churn     *churn     // nil: there is none
	watch     watch
	result    Result
}

// ownTopics are topics that no other run has.
func ownTopics(kind string) topics {
	return topics(kind + "." + strconv.FormatUint(rand.Uint64(), 36) + ".")
}

// maxCrowds is how many goroutines read at most: the edge needs cores too.
const maxCrowds = 4

// measure goes through the phases. Where ctx ends it goes no further.
func (r *run) measure(ctx context.Context) error {
	r.result = Result{Load: r.cfg.Scenario, Floor: r.cfg.Floor, Began: time.Now().UTC().Truncate(time.Second), Machine: ThisMachine()}
	for range min(runtime.GOMAXPROCS(0), maxCrowds) {
		c, err := newCrowd(r.cfg, r.topics)
		if err != nil {
			return err
		}
		r.crowds = append(r.crowds, c)
	}
	r.connector = newConnector(r.cfg, r.topics, r.crowds)
	r.watch.begin(r)

	phases := []func(context.Context) error{r.connect, r.idle}
	if r.publisher != nil {
		phases = []func(context.Context) error{r.connect, r.load}
	}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return err
		}
		if r.result.Interrupted = ctx.Err() != nil; r.result.Interrupted {
			break
		}
	}
	return nil
}

// connect opens the clients.
func (r *run) connect(ctx context.Context) error {
	before, err := r.processes.look()
	if err != nil {
		return err
	}
	r.watch.enter(Connecting, time.Time{}, time.Time{})
	start := time.Now()
	if err := r.connector.run(ctx); err != nil {
		return err
	}
	took := time.Since(start)
	settled := time.Now().Add(r.cfg.Settle)
	r.watch.enter(Settling, time.Now(), settled)
	pause(ctx, settled)
	after, err := r.processes.look()
	if err != nil {
		return err
	}
	r.result.connected(r.connector, took)
	if len(r.processes) > 0 && r.connector.opened > 0 {
		r.result.Server = newServer(r.connector.opened, before, after)
	}
	return nil
}

// idle does nothing, and measures what that costs.
func (r *run) idle(ctx context.Context) error {
	before, err := r.processes.look()
	if err != nil {
		return err
	}
	start := time.Now()
	until := start.Add(r.cfg.Duration)
	r.watch.enter(Idling, start, until)
	pause(ctx, until)
	after, err := r.processes.look()
	if err != nil {
		return err
	}
	t := r.count()
	r.result.lost(&t)
	if s := r.result.Server; s != nil {
		s.idled(after.cpu-before.cpu, time.Since(start), r.connector.opened)
	}
	return nil
}

// load publishes, and measures what becomes of it.
func (r *run) load(ctx context.Context) error {
	start := time.Now().Add(20 * time.Millisecond)
	since := start.Add(r.cfg.Warmup)
	until := since.Add(r.cfg.Duration)
	for _, c := range r.crowds {
		c.measure(since, until)
	}
	r.publisher.plan(start, since, until)
	var publishing sync.WaitGroup
	publishing.Go(func() { r.publisher.run(ctx) })
	defer publishing.Wait()
	if r.cfg.Storm > 0 {
		r.storm = newStorm(r.cfg)
		begin := since.Add(r.cfg.Duration / 3)
		for _, c := range r.crowds {
			c.brace(begin)
		}
		publishing.Go(func() { r.storm.run(ctx, begin, r.crowds) })
	}
	if r.cfg.Churn > 0 {
		r.churn = newChurn(r.cfg)
		publishing.Go(func() { r.churn.run(ctx, since, until) })
	}

	r.watch.enter(WarmingUp, start, since)
	if !pause(ctx, since) {
		return nil
	}
	r.watch.enter(Measuring, since, until)
	first, err := r.snapshot()
	if err != nil {
		return err
	}
	pause(ctx, until)
	last, err := r.snapshot()
	if err != nil {
		return err
	}
	r.watch.enter(Finishing, time.Time{}, time.Time{})
	publishing.Wait()
	r.await()
	r.result.loaded(r, first, last)
	return nil
}

// snapshot is how things stand at one moment.
type snapshot struct {
	at     time.Time
	tally  tally
	server usage
	own    time.Duration // CPU of this process
}

func (r *run) snapshot() (s snapshot, err error) {
	s.server, err = r.processes.look()
	s.at, s.own, s.tally = time.Now(), ownCPU(), r.count()
	return s, err
}

// count is what the clients have counted so far.
func (r *run) count() tally {
	t := newTally()
	for _, c := range r.crowds {
		c.count(&t)
	}
	return t
}

// How long messages that were published may be on their way to the clients.
const (
	patience = 10 * time.Second
	quiet    = 2 * time.Second // without any message, what is missing does not come any more
)

// await waits until all that was published has arrived, or no longer seems to.
func (r *run) await() {
	expected := r.publisher.expected(r.connector.readers)
	start := time.Now()
	heard, arrived := start, int64(-1)
	for time.Since(start) < patience && time.Since(heard) < quiet {
		t := r.count()
		if t.latency.TotalCount() >= expected {
			return
		}
		if t.arrived != arrived {
			heard, arrived = time.Now(), t.arrived
		}
		sleep(20 * time.Millisecond)
	}
}

// end closes all that is open and waits for it.
func (r *run) end() error {
	r.watch.end()
	var errs []error
	for _, c := range r.crowds {
		errs = append(errs, c.stop())
	}
	if r.connector != nil {
		r.connector.close()
	}
	if r.storm != nil {
		r.storm.close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// natsTimeout is how long NATS, and the stream in it, may take to be there.
const natsTimeout = 3 * time.Second

// ConnectNATS is a line to NATS on which everything is there.
func ConnectNATS(ctx context.Context, cfg bus.Config) (*bus.Conn, error) {
	conn, err := bus.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	if err := conn.WaitReady(limited); err != nil {
		if reason := conn.Ready(); reason != nil {
			err = reason
		}
		conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoNATS, err)
	}
	return conn, nil
}
