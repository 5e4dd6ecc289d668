package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tidings/edge/auth"
	"tidings/edge/poll"
)

// Edge is a node: it holds clients' connections and relays to each what it subscribed to.
type Edge struct {
	// Set by New.
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	listener *poll.Listener
	keyring  *keyring // nil: no TLS
	hub      *hub
	loops    []*loop
	web      *web
	origins  origins
	local    bool // it is open, and listens on this machine alone
	proxies  proxies
	acting   *acting
	desk     *desk    // verifies tokens; nil: the edge is open
	anyone   *session // of all connections of an open edge
	door     *door
	room     *room
	rates    rates

	// Any goroutine.
	connections atomic.Int64
	streams     atomic.Int64 // of server-sent events
	turning     atomic.Int64 // connections that have been taken to be refused
	running     atomic.Bool
	stopping    atomic.Bool
}

// New opens the listener and makes an edge that [Edge.Run] serves. The error names all that is wrong with cfg.
func New(cfg Config) (*Edge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("edge configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	e := &Edge{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), origins: cfg.Origins, anyone: &session{Session: auth.Anyone()}, acting: newActing()}
	e.proxies, _ = parseProxies(cfg.TrustedProxies)
	if !cfg.Open {
		e.desk = newDesk(cfg.Verifier, cfg.HandshakeTimeout, e.metrics, e.log)
	}
	e.door, e.rates = newDoor(&e.cfg.Limits, e.proxies, e.metrics), newRates(&e.cfg.Limits)
	e.room = newRoom(e.cfg.Limits.Connections, e.log)
	e.hub = newHub(cfg.Bus, e.log, e.metrics)
	now := time.Now() // one for all loops: their heartbeats go by it
	for i := range cfg.Loops {
		l, err := newLoop(e, i, now)
		if err != nil {
			e.closeLoops()
			return nil, fmt.Errorf("open loop %d: %w", i, err)
		}
		e.loops = append(e.loops, l)
	}
	e.hub.loops = e.loops
	if err := e.listen(); err != nil {
		e.closeLoops()
		return nil, err
	}
	e.local = cfg.Open && isLoopback(e.listener.Addr())
	e.web = newWeb(e.listener.Addr(), e.handler(), e.log)
	return e, nil
}

// listen opens the listener, over TLS if there is to be some.
func (e *Edge) listen() (err error) {
	o := poll.Options{SendBuffer: e.cfg.SendBuffer, Unsent: unsentMax}
	if e.cfg.TLS.on() {
		if e.keyring, err = newKeyring(e.cfg.TLS, e.metrics, e.log); err != nil {
			return fmt.Errorf("%w: %w", ErrTLS, err)
		}
		o.Over = e.secure
	}
	switch l := e.cfg.Listener; {
	case l == nil:
		e.listener, err = poll.Listen(context.Background(), e.cfg.Listen, o)
		return err
	case o.Over != nil:
		e.listener = poll.Wrap(o.Over(l))
	default:
		e.listener = poll.Wrap(l)
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// unsentMax bounds what the kernel holds unsent of a slow client: its socket can be written again when that is below the half, and is
// given a share then (lag.go). What waits there gets old. Twice as much makes a value 0.3 s older at 56 kbit/s.
const unsentMax = 4 << 10

// Addr is where the edge listens.
func (e *Edge) Addr() net.Addr { return e.listener.Addr() }

// Ready lists why clients should not be sent here; empty: they may. Losing NATS is such a reason, but none to stop:
// connections stay, and catch up when it is back.
func (e *Edge) Ready() []string {
	var reasons []string
	if !e.running.Load() {
		reasons = append(reasons, "edge: not running yet")
	}
	if e.stopping.Load() {
		reasons = append(reasons, "edge: draining")
	}
	if e.room.tight.Load() {
		reasons = append(reasons, "edge: memory is nearly used up")
	}
	if err := e.cfg.Bus.Ready(); err != nil {
		reasons = append(reasons, "nats: "+err.Error())
	}
	return reasons
}

// Run serves until ctx ends. Then it is not ready any more and goes on for Config.DrainWait, asks the clients to leave, waits
// until they have or the grace is over, and returns with everything closed. An edge runs once.
func (e *Edge) Run(ctx context.Context) error {
	var running sync.WaitGroup
	failed := make(chan error, len(e.loops)+2)
	hubCtx, stopHub := context.WithCancel(context.Background())
	defer stopHub()
	var hub sync.WaitGroup
	e.hub.begin(hubCtx)
	hub.Go(e.hub.run)
	for _, l := range e.loops {
		running.Go(func() { failed <- l.run() })
	}
	hub.Go(func() { e.room.watch(hubCtx) })
	var web sync.WaitGroup
	web.Go(func() { failed <- e.web.run() })
	if e.keyring != nil {
		var keys sync.WaitGroup
		keysCtx, stopKeys := context.WithCancel(context.Background())
		keys.Go(func() { e.keyring.run(keysCtx) })
		defer keys.Wait()
		defer stopKeys()
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { failed <- e.accept() })
	e.running.Store(true)
	e.log.Info("serving", "address", e.Addr().String(), "node", e.cfg.Node, "loops", len(e.loops))

	var err error
	select {
	case <-ctx.Done():
		if err = e.stayOpen(failed); err != nil {
			break
		}
		// Idle HTTP connections are closed at once; event streams end with the sockets behind them.
		web.Go(func() { e.web.stop(e.cfg.DrainGrace + closeWait) })
		e.drain()
	case err = <-failed:
	}
	e.stopping.Store(true)
	e.listener.Close()
	accepting.Wait()
	e.web.stop(closeWait)
	for _, l := range e.loops {
		l.post(func(l *loop) { l.stopping = true })
	}
	running.Wait()
	web.Wait()
	if e.desk != nil {
		e.desk.close()
	}
	e.acting.close()
	stopHub()
	hub.Wait()
	e.running.Store(false)
	return err
}

func (e *Edge) closeLoops() {
	for _, l := range e.loops {
		l.poller.Close()
	}
}
