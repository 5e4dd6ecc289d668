package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/edge/auth"
)

// Config says how an edge is to run. A zero field means its default; Bus, and one of Verifier and Open, have none.
type Config struct {
	Listen   string       // host:port for sockets and pages; default 127.0.0.1:8080
	Listener net.Listener // instead of Listen: one that is open already
	TLS      TLS          // over either; default: none
	Node     string       // this edge's name, as clients are told; default the host's name
	Bus      *bus.Conn    // the line to NATS; its owner closes it after Run has returned

	Verifier      Verifier      // says who a token's bearer is; nil: only with Open
	Open          bool          // no tokens: whoever reaches this edge may subscribe to everything
	TokenCookie   string        // name of a cookie that may hold the token, for pages of Origins and of the same host; default: none
	TokenQuery    bool          // ?access_token= is taken too; it shows in the logs of proxies
	ExpiryWarning time.Duration // a client is told so long before its token expires, or after three quarters of what is left; default 1 min; below 0: never

	Actor Actor // passes actions on to publishers, usually Bus; nil: actions are off, whatever a token grants

	Heartbeat        time.Duration // between pings; default 25 s
	HandshakeTimeout time.Duration // from accept to the end of the upgrade request; default 10 s
	SlowTimeout      time.Duration // a client that takes nothing for so long is closed; default 30 s
	Linger           time.Duration // a topic without subscribers stays subscribed at NATS for so long; default 10 s
	Gather           time.Duration // messages that come close together may wait so long for each other (gather.go); default 5 ms; below 0: never
	DrainWait        time.Duration // a stopping edge goes on as before for so long, but is not ready, so that load balancers notice; default 0
	DrainWindow      time.Duration // over which it then asks its clients, one after the other, to connect elsewhere; default 5 s
	DrainGrace       time.Duration // after which it has closed those who stayed, each at a deadline of its own; default 8 s
	MaxAge           time.Duration // a connection this old is asked to connect anew, so that new nodes fill up; default 0: never

	Loops      int    // event loops; default GOMAXPROCS
	SendBuffer int    // SO_SNDBUF of each connection in bytes, which the kernel doubles; default 128 KiB
	Limits     Limits // of all that a client can make grow

	Origins        []string // hosts of other sites whose pages may connect ("app.example.org", "*.example.org", "*" for any); a page of the same host always may
	TrustedProxies []string // addresses and networks ("10.0.0.0/8") of load balancers whose word about their clients is taken; default: none
	ProxyProtocol  bool     // connections of trusted proxies begin with a PROXY header, which says whose they are

	Pages      http.Handler // answers requests that are neither an upgrade nor the protocol's; default 404
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not registered
}

// Verifier turns a token into a session. It may wait for keys until ctx ends, and is called by several goroutines at once, none of which
// is a loop's. Its errors are those of package auth; none may hold a part of the token.
type Verifier interface {
	Verify(ctx context.Context, token string) (*auth.Session, error)
}

// Limits bound what clients can make an edge hold. A zero field means its default.
type Limits struct {
	// Of all clients, and of one address: an IPv6 /64 counts as one, loopback and trusted proxies are not limited.
	Connections           int // open at once; default 100,000
	ConnectionsPerAddress int // open at once; default 20,000
	HandshakesPerSecond   int // new connections, and as many at once; default 10,000
	HandshakesPerAddress  int // a second, new connections and HTTP requests, and ten times as many at once; default 1,000
	EventStreams          int // streams of server-sent events open at once; default 1,000

	// Of one user: of the tokens of one sub, on this edge.
	ConnectionsPerUser int // open at once; default 1,000
	ActionsPerUser     int // that run at once; default 32
	ActionsPerSecond   int // with what ten seconds allow at once; default 5

	// Of one connection. The rates are per second, with what ten seconds allow at once.
	HeaderBytes         int // of an upgrade request; default 8 KiB
	Headers             int // header lines of an upgrade request; default 64
	MessagesPerSecond   int // requests; default 100
	MessageBytes        int // of one message from a client, over all of its fragments; default 64 KiB
	SubscribesPerSecond int // patterns taken up, with Subscriptions of them at once at least; default 50
	Subscriptions       int // patterns held; default 128
	PatternLiterals     int // tokens that a pattern has to spell out: 1 refuses "*" and ">"; default 0
	Replay              int // messages that one subscribe brings back from the stream, over all of its patterns; default 10,000
	PingsPerSecond      int // pings, and other frames that say nothing; default 10
	RefreshesPerSecond  int // tokens sent anew; default 1
	BadRequests         int // within a minute, before a connection is closed; default 10

	// What a loop keeps for slow and returning clients.
	Recent      int // messages of a pattern; default 256
	RecentBytes int // and their bytes, over all patterns; default 64 MiB
}

func (c Config) withDefaults() Config {
	def(&c.Listen, "127.0.0.1:8080")
	if c.Node == "" {
		c.Node, _ = os.Hostname()
		def(&c.Node, "edge")
	}
	def(&c.ExpiryWarning, time.Minute)
	def(&c.Heartbeat, 25*time.Second)
	def(&c.HandshakeTimeout, 10*time.Second)
	def(&c.SlowTimeout, 30*time.Second)
	def(&c.Linger, 10*time.Second)
	def(&c.Gather, 5*time.Millisecond)
	def(&c.DrainWindow, 5*time.Second)
	def(&c.DrainGrace, 8*time.Second)
	c.TLS = c.TLS.withDefaults()
	def(&c.Loops, runtime.GOMAXPROCS(0))
	def(&c.SendBuffer, 128<<10)
	def(&c.Limits.Connections, 100_000)
	def(&c.Limits.ConnectionsPerAddress, 20_000)
	def(&c.Limits.ConnectionsPerUser, 1000)
	def(&c.Limits.HandshakesPerSecond, 10_000)
	def(&c.Limits.HandshakesPerAddress, 1000)
	def(&c.Limits.EventStreams, 1000)
	def(&c.Limits.HeaderBytes, 8<<10)
	def(&c.Limits.Headers, 64)
	def(&c.Limits.MessagesPerSecond, 100)
	def(&c.Limits.MessageBytes, 64<<10)
	def(&c.Limits.SubscribesPerSecond, 50)
	def(&c.Limits.Subscriptions, 128)
	def(&c.Limits.Replay, 10_000)
	def(&c.Limits.PingsPerSecond, 10)
	def(&c.Limits.RefreshesPerSecond, 1)
	def(&c.Limits.ActionsPerUser, 32)
	def(&c.Limits.ActionsPerSecond, 5)
	def(&c.Limits.BadRequests, 10)
	def(&c.Limits.Recent, 256)
	def(&c.Limits.RecentBytes, 64<<20)
	if c.Pages == nil {
		c.Pages = http.NotFoundHandler()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// rateMax is the highest rate that can be asked for, per second: what is above it is no limit any more.
const rateMax = 1_000_000

// maxLoops is the number of bits in an interest's set of loops.
const maxLoops = 64

// Validate names all that is wrong with c at once, each by its key.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Bus == nil {
		fault("Bus: missing; an edge needs its line to NATS")
	}
	switch {
	case c.Verifier == nil && !c.Open:
		fault("Verifier: missing; without one an edge is open to whoever reaches it, and has to be told so by Open")
	case c.Verifier != nil && c.Open:
		fault("Open: with a Verifier an edge is not open; set one of the two")
	}
	if c.Actor != nil && c.Open {
		fault("Actor: an open edge acts for nobody; actions need a Verifier")
	}
	if strings.ContainsFunc(c.TokenCookie, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
		fault("TokenCookie: %q is no name of a cookie", c.TokenCookie) // RFC 6265 §4.1.1
	}
	if c.Listener == nil && c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			fault("Listen: %q is not host:port", c.Listen)
		}
	}
	for _, d := range []struct {
		key      string
		value    time.Duration
		min, max time.Duration
	}{
		{"ExpiryWarning", max(c.ExpiryWarning, 0), 0, 24 * time.Hour},
		{"Heartbeat", c.Heartbeat, 100 * time.Millisecond, time.Hour},
		{"HandshakeTimeout", c.HandshakeTimeout, 100 * time.Millisecond, time.Hour},
		{"SlowTimeout", c.SlowTimeout, 100 * time.Millisecond, time.Hour},
		{"Linger", c.Linger, time.Millisecond, time.Hour},
		{"Gather", max(c.Gather, 0), 0, 100 * time.Millisecond},
		{"DrainWait", c.DrainWait, 0, time.Hour},
		{"DrainWindow", c.DrainWindow, time.Millisecond, time.Hour},
		{"MaxAge", c.MaxAge, time.Second, 365 * 24 * time.Hour},
		{"DrainGrace", c.DrainGrace, time.Millisecond, time.Hour},
	} {
		if d.value != 0 && (d.value < d.min || d.value > d.max) {
			fault("%s: %v is outside %v to %v", d.key, d.value, d.min, d.max)
		}
	}
	for _, n := range []struct {
		key      string
		value    int
		min, max int
	}{
		{"Loops", c.Loops, 1, maxLoops},
		{"SendBuffer", c.SendBuffer, 4 << 10, 64 << 20},
		{"Limits.Connections", c.Limits.Connections, 1, 1 << 24},
		{"Limits.ConnectionsPerAddress", c.Limits.ConnectionsPerAddress, 1, 1 << 24},
		{"Limits.ConnectionsPerUser", c.Limits.ConnectionsPerUser, 1, 1 << 24},
		{"Limits.ActionsPerUser", c.Limits.ActionsPerUser, 1, 1 << 20},
		{"Limits.ActionsPerSecond", c.Limits.ActionsPerSecond, 1, rateMax},
		{"Limits.HandshakesPerSecond", c.Limits.HandshakesPerSecond, 1, rateMax},
		{"Limits.HandshakesPerAddress", c.Limits.HandshakesPerAddress, 1, rateMax},
		{"Limits.EventStreams", c.Limits.EventStreams, 1, 1 << 24},
		{"Limits.HeaderBytes", c.Limits.HeaderBytes, 512, 1 << 20},
		{"Limits.Headers", c.Limits.Headers, 8, 1 << 12},
		{"Limits.MessagesPerSecond", c.Limits.MessagesPerSecond, 1, rateMax},
		{"Limits.MessageBytes", c.Limits.MessageBytes, 128, 16 << 20},
		{"Limits.SubscribesPerSecond", c.Limits.SubscribesPerSecond, 1, rateMax},
		{"Limits.Subscriptions", c.Limits.Subscriptions, 1, 1 << 14},
		{"Limits.PatternLiterals", c.Limits.PatternLiterals, 0, 16},
		{"Limits.Replay", c.Limits.Replay, 1, 1 << 20},
		{"Limits.PingsPerSecond", c.Limits.PingsPerSecond, 1, rateMax},
		{"Limits.RefreshesPerSecond", c.Limits.RefreshesPerSecond, 1, rateMax},
		{"Limits.BadRequests", c.Limits.BadRequests, 1, 1 << 20},
		{"Limits.Recent", c.Limits.Recent, 1, 1 << 16},
		{"Limits.RecentBytes", c.Limits.RecentBytes, 1 << 10, 1 << 40},
	} {
		if n.value != 0 && (n.value < n.min || n.value > n.max) {
			fault("%s: %d is outside %d to %d", n.key, n.value, n.min, n.max)
		}
	}
	for _, o := range c.Origins {
		if !validOrigin(o) {
			fault("Origins: %q is not a host; write app.example.org, without scheme or path, *.example.org for all below it, or *", o)
		}
	}
	if _, wrong := parseProxies(c.TrustedProxies); len(wrong) > 0 {
		fault("TrustedProxies: %q is neither an address nor a network such as 10.0.0.0/8", wrong[0])
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		fault("ProxyProtocol: is on, and no proxy is trusted to speak it; name them in trusted_proxies")
	}
	c.TLS.validate(fault)
	return errors.Join(faults...)
}
