package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is how to reach NATS, and what the stream there has to look like.
type Config struct {
	Servers   []string                   // NATS URLs; default nats://127.0.0.1:4222
	InProcess nats.InProcessConnProvider // an embedded server instead of Servers
	Name      string                     // the connection's name in NATS' monitoring; default "tidings"
	Login     Login                      // who we are to NATS; default nobody
	TLS       TLS                        // default as the servers want it
	Wrap      func(net.Conn) net.Conn    // put around each connection to a server, below TLS; default nothing
	Prefix    string                     // of all subjects; default "tidings"
	Inbox     string                     // where answers arrive, so that others may be kept from there; default "_INBOX_" and Prefix
	API       string                     // JetStream's subjects as this account sees them; default "$JS.API"
	Stream    StreamConfig

	MaxPayload int // bytes; larger ones are neither published nor delivered; default 1 MiB

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // nil: the metrics are not registered anywhere
	OnState    func(State)           // called on each change, in order, one at a time; must not block
}

// StreamConfig is the stream that keeps what was published.
type StreamConfig struct {
	Name        string        // default "TIDINGS"
	MaxAge      time.Duration // default 24 h
	MaxPerTopic int           // messages; default 1,024
	MaxBytes    int64         // default 1 GiB
	Storage     string        // "file" (default) or "memory"
	Replicas    int           // servers that hold a copy each; default 1
	Duplicates  time.Duration // how long a Nats-Msg-Id is remembered; default 2 min, at most MaxAge
	MarkerTTL   time.Duration // how long a marker stays, whole seconds; default 15 s. No TTL of a message can be shorter.
	Manage      Manage        // default ManageAuto
}

// Manage says whose the stream is.
type Manage uint8

const (
	ManageAuto     Manage = iota // created when missing, brought up to date once by each process
	ManageOperator               // the operator's: never created or changed, only checked
)

const (
	defaultServer     = nats.DefaultURL
	defaultName       = "tidings"
	defaultPrefix     = "tidings"
	defaultAPI        = "$JS.API"
	defaultStream     = "TIDINGS"
	defaultMaxPayload = 1 << 20
)

var (
	inboxGrammar  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	apiGrammar    = regexp.MustCompile(`^[$A-Za-z0-9_-]+(\.[$A-Za-z0-9_-]+)*$`)
	prefixGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	streamGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// Validate names every fault at once, each by its key.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.InProcess == nil || len(c.Servers) == 0, "servers: must be empty when an embedded server is used")
	fault(prefixGrammar.MatchString(c.Prefix), "prefix: %q must be tokens of A-Z a-z 0-9 _ - joined by dots", c.Prefix)
	fault(inboxGrammar.MatchString(c.Inbox), "inbox: %q must be tokens of A-Z a-z 0-9 _ - joined by dots", c.Inbox)
	fault(apiGrammar.MatchString(c.API), "api: %q must be tokens of A-Z a-z 0-9 _ - $ joined by dots", c.API)
	c.Login.check(c.Servers, fault)
	c.TLS.check(fault)
	fault(c.MaxPayload > 0, "max_payload: %d must be above 0", c.MaxPayload)
	fault(streamGrammar.MatchString(c.Stream.Name), "stream.name: %q must be one token of A-Z a-z 0-9 _ -", c.Stream.Name)
	fault(c.Stream.MaxAge >= time.Second, "stream.max_age: %v must be at least 1s", c.Stream.MaxAge)
	fault(c.Stream.MaxPerTopic > 0, "stream.max_per_topic: %d must be above 0", c.Stream.MaxPerTopic)
	fault(c.Stream.MaxBytes > 0, "stream.max_bytes: %d must be above 0", c.Stream.MaxBytes)
	fault(c.Stream.Storage == "file" || c.Stream.Storage == "memory", `stream.storage: %q must be "file" or "memory"`, c.Stream.Storage)
	fault(c.Stream.Replicas >= 1 && c.Stream.Replicas <= 5, "stream.replicas: %d must be 1 to 5", c.Stream.Replicas)
	fault(c.Stream.Duplicates >= 100*time.Millisecond && c.Stream.Duplicates <= c.Stream.MaxAge,
		"stream.duplicates: %v must be at least 100ms and at most stream.max_age", c.Stream.Duplicates)
	fault(c.Stream.MarkerTTL >= time.Second && c.Stream.MarkerTTL%time.Second == 0,
		"stream.marker_ttl: %v must be whole seconds, at least one", c.Stream.MarkerTTL)
	fault(c.Stream.Manage <= ManageOperator, "stream.manage: %d is not known", c.Stream.Manage)
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if len(c.Servers) == 0 && c.InProcess == nil {
		c.Servers = []string{defaultServer}
	}
	orElse(&c.Name, defaultName)
	orElse(&c.Prefix, defaultPrefix)
	orElse(&c.Inbox, "_INBOX_"+strings.ReplaceAll(c.Prefix, ".", "_"))
	orElse(&c.API, defaultAPI)
	orElse(&c.MaxPayload, defaultMaxPayload)
	orElse(&c.Stream.Name, defaultStream)
	orElse(&c.Stream.MaxAge, 24*time.Hour)
	orElse(&c.Stream.MaxPerTopic, 1024)
	orElse(&c.Stream.MaxBytes, 1<<30)
	orElse(&c.Stream.Storage, "file")
	orElse(&c.Stream.Replicas, 1)
	orElse(&c.Stream.Duplicates, min(2*time.Minute, c.Stream.MaxAge))
	orElse(&c.Stream.MarkerTTL, 15*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// orElse sets what was left at zero.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
