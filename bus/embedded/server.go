package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 10 * time.Second

	// With its headers a message of the bus' default limit (1 MiB) is larger than NATS' own default.
	maxPayload = 2 << 20
)

// Config is where the server keeps its data and whom it serves.
type Config struct {
	Dir     string       // of the streams; created when missing, used by one process at a time. Required.
	Listen  string       // host:port for other processes (port 0: any free one); "" (default): this process only
	Monitor string       // host:port of NATS' own monitoring over HTTP; "" (default): none
	Logger  *slog.Logger // default slog.Default()
}

// Validate names every fault at once, each by its key.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("dir: must not be empty"))
	}
	for key, address := range map[string]string{"listen": c.Listen, "monitor": c.Monitor} {
		if address == "" {
			continue
		}
		if _, _, err := split(address); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errors.Join(faults...)
}

// Server is a running nats-server.
type Server struct {
	ns   *server.Server
	lock *lock
	once sync.Once
}

// Start returns when the server serves.
func Start(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded NATS configuration: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: %w", err)
	}
	ns, err := start(cfg)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS in %s: %w", cfg.Dir, errors.Join(err, lock.release()))
	}
	return &Server{ns: ns, lock: lock}, nil
}

func start(cfg Config) (*server.Server, error) {
	options, err := options(cfg)
	if err != nil {
		return nil, err
	}
	// nats-server finds a taken port only after it has started, and then gives up as a whole.
	for key, address := range map[string]string{"listen": cfg.Listen, "monitor": cfg.Monitor} {
		if err := canListen(address); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configure nats-server: %w", err)
	}
	log := &serverLog{log: cfg.Logger.With("part", "nats"), fatal: make(chan error, 1)}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := awaitReady(ns, log.fatal); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, err
	}
	return ns, nil
}

func awaitReady(ns *server.Server, fatal <-chan error) error {
	const step = 100 * time.Millisecond
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		ready := ns.ReadyForConnections(step)
		select {
		case err := <-fatal:
			return err
		default:
		}
		if ready && ns.JetStreamEnabled() {
			return nil
		}
	}
	return fmt.Errorf("not ready within %v", startTimeout)
}

func options(cfg Config) (*server.Options, error) {
	o := &server.Options{
		ServerName: "tidings",
		DontListen: cfg.Listen == "",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		MaxPayload: maxPayload,
		NoSigs:     true,
		// A publisher is never slowed down because an edge reads slowly: the edge is dropped, and comes back.
		NoFastProducerStall: true,
	}
	var err error
	if cfg.Listen != "" {
		if o.Host, o.Port, err = split(cfg.Listen); err != nil {
			return nil, err
		}
	}
	if cfg.Monitor != "" {
		if o.HTTPHost, o.HTTPPort, err = split(cfg.Monitor); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// InProcessConn is a line to the server that leaves this process nowhere (nats.InProcessConnProvider).
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// ClientURL is where other processes reach it; "" when they cannot.
func (s *Server) ClientURL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return s.ns.ClientURL()
}

// MonitorURL is NATS' monitoring, such as /varz and /subsz; "" when there is none.
func (s *Server) MonitorURL() string {
	if a := s.ns.MonitorAddr(); a != nil {
		return "http://" + a.String()
	}
	return ""
}

// Shutdown ends the server and waits until its data is on the disk. It may be called twice.
func (s *Server) Shutdown() error {
	var err error
	s.once.Do(func() {
		s.ns.Shutdown()
		stopped := make(chan struct{})
		go func() {
			s.ns.WaitForShutdown()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-time.After(stopTimeout):
			err = fmt.Errorf("embedded NATS did not stop within %v", stopTimeout)
		}
		err = errors.Join(err, s.lock.release())
	})
	return err
}

// split reads host:port; nats-server wants -1 for any free port.
func split(address string) (host string, port int, err error) {
	host, name, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q must be host:port: %w", address, err)
	}
	if port, err = strconv.Atoi(name); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q: port must be 0 to 65535", address)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func canListen(address string) error {
	if address == "" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err // names the address and the cause
	}
	return l.Close()
}

// lockDir makes dir ours, or says who else has it.
func lockDir(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	path := filepath.Join(dir, "tidings.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data directory is not writable: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by another process: %w", dir, err), f.Close())
	}
	return &lock{f}, nil
}

// lock is held as long as its file is open; the system lets go of it when the process dies.
type lock struct{ file *os.File }

func (l *lock) release() error { return l.file.Close() }
