package docker

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/publisher"
)

// The topic types that this source publishes.
const (
	typeContainers = "containers"
	typeStats      = "container-stats"
	typeEvents     = "container-events"
)

// Config says which engine to follow and how. Zero fields mean the default
// written beside them.
type Config struct {
	// Host is the engine's address, unix:///path or tcp://host:port, with the
	// certificates in DOCKER_CERT_PATH if that is set. Empty means DOCKER_HOST,
	// or else the first that answers where Docker and Podman usually listen.
	Host string

	Interval     time.Duration // between two beats of container-stats; 1 s, at least 100 ms
	ListInterval time.Duration // the list is read and sent anew that often; 1 min, at least 1 s

	// Labels are the container labels that are published: whole keys, or
	// beginnings with a * after them. Labels may hold secrets, so none are by
	// default.
	Labels []string

	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // metrics are not registered anywhere
}

// Validate names every fault at once, by its key.
func (c Config) Validate() error {
	var faults []error
	if c.Host != "" {
		url, err := client.ParseHostURL(c.Host)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("host: %q is no address, write unix:///path/to/docker.sock or tcp://name:port", c.Host))
		case url.Scheme != "unix" && url.Scheme != "tcp":
			faults = append(faults, fmt.Errorf("host: can't speak %q, only unix and tcp", url.Scheme))
		}
	}
	if c.Interval != 0 && c.Interval < 100*time.Millisecond {
		faults = append(faults, fmt.Errorf("interval: %v is too short, the least is 100ms", c.Interval))
	}
	if c.ListInterval != 0 && c.ListInterval < time.Second {
		faults = append(faults, fmt.Errorf("list_interval: %v is too short, the least is 1s", c.ListInterval))
	}
	for _, label := range c.Labels {
		if star := strings.IndexByte(label, '*'); label == "" || star >= 0 && star < len(label)-1 {
			faults = append(faults, fmt.Errorf("labels: %q is neither a key nor a beginning with * after it", label))
		}
	}
	return errors.Join(faults...)
}

// Source follows one container engine, whenever there is one. It is a
// publisher.Watcher.
type Source struct {
	interval     time.Duration
	listInterval time.Duration
	endpoints    []endpoint
	reader       recordReader
	metrics      *metrics
	logger       *slog.Logger

	// Written by Watch, read by Read and Runtimes; nil while there is no engine.
	view atomic.Pointer[view]

	// Owned by Read.
	meters map[string]*meter // by container id
}

var _ publisher.Watcher = (*Source)(nil)

// view is what Watch knows, for Read. It is never changed, only replaced.
type view struct {
	engine  *engine
	running []subject
	tapped  bool // every subject has a tap; else the engine is asked
}

// New makes the source. It looks for no engine yet: Watch does.
func New(c Config) (*Source, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.ListInterval == 0 {
		c.ListInterval = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	metrics, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &Source{
		interval:     c.Interval,
		listInterval: c.ListInterval,
		endpoints:    endpoints(c.Host),
		reader:       recordReader{labels: allowList(c.Labels), self: ownContainer()},
		metrics:      metrics,
		logger:       c.Logger,
		meters:       make(map[string]*meter),
	}, nil
}

// Name is "docker", also for Podman: it names the source, not the engine.
func (s *Source) Name() string { return "docker" }

// Interval is the time between two beats of container-stats.
func (s *Source) Interval() time.Duration { return s.interval }

// Runtimes is the engine that is being followed, if any, for the host's payload.
func (s *Source) Runtimes() []publisher.Runtime {
	if v := s.view.Load(); v != nil {
		return []publisher.Runtime{v.engine.runtime}
	}
	return nil
}
