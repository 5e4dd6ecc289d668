package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	dialTimeout  = 2 * time.Second
	pingInterval = 10 * time.Second // a line that is silent for two of them is dead
	callTimeout  = 5 * time.Second  // for one answer of NATS, where the caller set no deadline
	closeTimeout = 2 * time.Second
	maxReconnect = 2 * time.Second // longest pause between two attempts
)

// Conn is the line to NATS. All its methods may be called by many goroutines at once.
type Conn struct {
	cfg      Config
	subjects subjects
	log      *slog.Logger
	metrics  *metrics
	nc       *nats.Conn
	js       jetstream.JetStream

	stop   context.CancelFunc // ends watch
	watch  sync.WaitGroup
	look   chan struct{} // room for one: the stream should be looked at now
	ended  chan struct{} // closed when NATS' client has called back for the last time
	reads  chan struct{} // a slot for each read that may run at once
	ensure sync.Mutex    // one creates or updates the stream at a time

	telling sync.Mutex // orders the calls of OnState; taken before mu

	mu        sync.Mutex
	state     State
	lineErr   error            // why the line is down
	streamErr error            // why Epoch is ""
	stream    jetstream.Stream // nil until it was found
	limits    limits           // of the stream as it is, not as configured
	lastEpoch string           // as found, through times without a stream
	goneSince time.Time        // when the stream of lastEpoch was first found missing
	managed   bool             // the stream was brought up to date once
	listeners map[*Listener]struct{}
	servings  map[*serving]struct{}
	changed   chan struct{}   // closed and replaced on each change of the state
	up        context.Context // ends when the line breaks
	breakUp   context.CancelCauseFunc
	closed    bool
}

// Connect starts a line to NATS and returns although NATS may not be there yet: it is tried for ever, in the background,
// and so is the stream. Use WaitReady where nothing can be done before. The error is a fault of cfg, or ctx ended.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bus configuration: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	cfg = cfg.withDefaults()
	c := &Conn{
		cfg:      cfg,
		subjects: subjectsUnder(cfg.Prefix),
		log:      cfg.Logger.With("part", "bus"),
		look:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
		reads:    make(chan struct{}, maxReads),
		metrics:  newMetrics(),

		listeners: map[*Listener]struct{}{},
		servings:  map[*serving]struct{}{},
		changed:   make(chan struct{}),
		state:     State{Since: time.Now()},
	}
	c.up, c.breakUp = context.WithCancelCause(context.Background())
	var err error
	dialer := dialer{wrap: cfg.Wrap}
	options := slices.Concat(c.options(), cfg.TLS.options(), cfg.Login.options(&dialer), []nats.Option{nats.SetCustomDialer(&dialer)})
	if c.nc, err = nats.Connect(strings.Join(cfg.Servers, ","), options...); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	dialer.line.Store(c.nc)
	if c.js, err = jetstream.NewWithAPIPrefix(c.nc, cfg.API, jetstream.WithDefaultTimeout(callTimeout)); err == nil {
		err = c.metrics.register(cfg.Registerer, c.nc)
	}
	if err != nil {
		c.nc.Close()
		<-c.ended
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if c.nc.IsConnected() { // NATS' client calls back a moment later
		c.lineUp(c.nc, "connected to NATS")
	}
	watching, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watch.Go(func() { c.watchStream(watching) })
	return c, nil
}

// options are where we differ from nats.go's defaults.
func (c *Conn) options() []nats.Option {
	options := []nats.Option{
		nats.Name(c.cfg.Name),
		nats.CustomInboxPrefix(c.cfg.Inbox),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // an operator may put the credentials right later
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1), // the outbox keeps what NATS cannot take, and an action must not be done late
		nats.ConnectHandler(func(nc *nats.Conn) { c.lineUp(nc, "connected to NATS") }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.metrics.reconnects.Inc()
			c.lineUp(nc, "connected to NATS again")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.lineDown(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.lineFailed(err) }),
		nats.ErrorHandler(c.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(c.ended) }),
	}
	if c.cfg.InProcess != nil {
		options = append(options, nats.InProcessServer(c.cfg.InProcess))
	}
	return options
}

// Flush is a round trip to the server: every Add before it is in force there when it returns.
func (c *Conn) Flush(ctx context.Context) error {
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	defer cancel()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush: %w", orCause(ctx, lineError(err)))
	}
	return nil
}

// Close ends all listeners, and the answering of actions without waiting for those that run, sends what is still in the line's
// buffer, and waits until everything it started has ended. Nothing is published or delivered after it. It may be called twice.
func (c *Conn) Close() {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	open := slices.Collect(maps.Keys(c.listeners))
	servings := slices.Collect(maps.Keys(c.servings))
	c.broadcast()
	c.mu.Unlock()
	if was {
		<-c.ended
		return
	}
	c.stop()
	c.watch.Wait()
	for _, s := range servings {
		if err := s.stop(canceled()); err != nil {
			c.log.Warn("actions were cut off", "host", s.host, "error", err)
		}
	}
	for _, l := range open {
		l.Close()
	}
	if c.nc.IsConnected() {
		if err := c.nc.FlushTimeout(closeTimeout); err != nil {
			c.log.Warn("what was in the buffer may not have reached NATS", "error", err)
		}
	}
	c.nc.Close()
	<-c.ended
	c.metrics.unregister(c.cfg.Registerer)
}

func (c *Conn) lineUp(nc *nats.Conn, what string) {
	c.mu.Lock()
	c.lineErr = nil
	c.mu.Unlock()
	if c.setState(func(s *State) { s.Connected = true }) {
		server := nc.ConnectedUrlRedacted()
		if c.cfg.InProcess != nil {
			server = "in this process" // NATS' client would name its default
		}
		c.log.Info(what, "server", server)
		c.lookNow()
	}
}

func (c *Conn) lineDown(err error) {
	c.mu.Lock()
	c.lineErr = err
	closed := c.closed
	c.mu.Unlock()
	if !closed {
		c.log.Warn("lost NATS, trying again for ever", "error", err)
	}
	c.setState(func(s *State) { s.Connected = false })
}

// lineFailed is called for each attempt that failed. Only news are logged.
func (c *Conn) lineFailed(err error) {
	c.mu.Lock()
	news := c.lineErr == nil || !strings.EqualFold(c.lineErr.Error(), err.Error()) // NATS' client spells some in two ways
	c.lineErr = err
	c.mu.Unlock()
	if !news || errors.Is(err, nats.ErrNoServers) { // that is but the sum of a first round; the next attempt says why
		return
	}
	if refused(err) {
		c.log.Error("NATS refuses this login, trying again for ever: it is what nats.credentials, nats.nkey or nats.user say", "error", err)
		return
	}
	c.log.Warn("cannot reach NATS, trying again for ever", "error", err)
}

// asyncError gets what NATS' client has to say outside of any call.
func (c *Conn) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		c.mu.Lock()
		open := slices.Collect(maps.Keys(c.listeners))
		c.mu.Unlock()
		for _, l := range open {
			l.overflowed(sub)
		}
		return
	}
	if !c.State().Connected || refused(err) {
		c.lineFailed(err) // of an attempt to reconnect that got as far as being refused, NATS' client tells only here
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Error("NATS does not let this login do that: is it that of this role, and of this host? configs/nats has what each needs", "error", err)
		return
	}
	c.log.Warn("NATS reports an error", "error", err)
}

// reconnectDelay doubles from 100 ms, with jitter: a restarted NATS should not be met by all at once.
func reconnectDelay(attempts int) time.Duration {
	d := min(maxReconnect, 100*time.Millisecond<<min(attempts, 10))
	return d/2 + rand.N(d/2)
}

// lineError makes the many ways in which nats.go says "not connected" one.
func lineError(err error) error {
	for _, e := range []error{nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting,
		nats.ErrConnectionDraining, nats.ErrDisconnected, nats.ErrStaleConnection, nats.ErrInvalidConnection} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	}
	return err
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// withTimeout makes sure that ctx ends at some time.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}
