package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
)

// Config is what a Publisher is made of. Zero fields mean the default written
// beside them.
type Config struct {
	Bus     *bus.Conn // needed; the caller closes it after Run
	Host    string    // the host's true name, as people know it; os.Hostname
	Sources []Source  // at least one, each with a name of its own

	// Actions says what may be done to the host's containers; nil: nothing, and
	// nobody answers who asks for it.
	Actions *Actions

	// Grace is how long a stop may take: for the sources and for actions that run
	// to end, for what they emitted to be published, and for saying that this host
	// goes; 5 s.
	Grace time.Duration

	Version    string                // of the program, for its log
	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // nil: the metrics are registered nowhere
}

// Validate names every fault at once, by its key.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Bus == nil {
		fault("bus: is missing")
	}
	if c.Host != "" {
		if _, err := hostTopic(c.Host); err != nil {
			fault("host: %w", err)
		}
	}
	if c.Grace < 0 {
		fault("grace: %v is negative", c.Grace)
	}
	if c.Actions != nil {
		if err := c.Actions.Validate(); err != nil {
			fault("actions: %w", err)
		}
	}
	if len(c.Sources) == 0 {
		fault("sources: there are none, so nothing would be published")
	}
	names := map[string]bool{}
	for i, s := range c.Sources {
		if s == nil {
			fault("sources: number %d is nil", i)
			continue
		}
		if names[s.Name()] {
			fault("sources: two are named %q", s.Name())
		}
		names[s.Name()] = true
		if s.Interval() <= 0 {
			fault("sources: %q has the interval %v, it must be positive", s.Name(), s.Interval())
		}
	}
	return errors.Join(faults...)
}

// withDefaults fills in the zero fields.
func (c Config) withDefaults() (Config, error) {
	if c.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("host: %w", err)
		}
		c.Host = name
	}
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// hostTopic is where a host says that it is there, and so where its name is claimed.
func hostTopic(host string) (bus.Topic, error) {
	return bus.ParseTopic(hostType + "." + bus.HostToken(host))
}
