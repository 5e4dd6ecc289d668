package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"tidings/edge/wire"
)

// Config says where a Client connects, and whom it tells what. Its zero fields
// mean what their comments say.
type Config struct {
	URL         string                                // of the edge's socket: ws://, wss://, http:// or https://; required
	Token       func(context.Context) (string, error) // asked before each connection; nil: none
	Header      http.Header                           // sent with each handshake; nil: nothing more than is needed
	HTTPClient  *http.Client                          // for the handshakes; nil: one of its own, which minds HTTP_PROXY
	Compress    bool                                  // offer permessage-deflate
	ReadLimit   int64                                 // bytes of one message; 0: 4 MiB
	DialTimeout time.Duration                         // until the edge has said `connected`; 0: 10 s
	BackoffBase time.Duration                         // the first wait is up to this, each further one up to twice as much; 0: 500 ms
	BackoffCap  time.Duration                         // and never more than this; 0: 30 s
	Logger      *slog.Logger                          // nil: says nothing
	Handler     Handler                               // whom to tell
}

// Handler is what a Client tells. All of it is called by Run's own goroutine, one
// after the other, so a slow one slows the reading from the socket, and nothing
// piles up here: the edge then does what it does for any slow client. Every func
// may call the methods of the Client but Run. A nil func isn't called.
type Handler struct {
	Message      func(Message)                         // a message of a topic, each once, per topic in rising seq
	Gap          func(Gap)                             // messages that will never come
	Subscribed   func(Subscribed)                      // the edge has taken a subscription; on each connection anew
	Refused      func(pattern string, err *wire.Error) // it never will: the subscription is removed; pattern is empty for an error about none
	Status       func(wire.StatusPayload)              // how the edge stands with NATS
	Connected    func(wire.ConnectedPayload)           // a connection stands; also one that replaces another which is still delivering
	Disconnected func(err error, retry time.Duration)  // no connection stands (any more); the next attempt is so far off
}

// Message is one message of a topic.
type Message struct {
	wire.Message
	Raw    []byte // as it came; the receiver may keep it
	Missed bool   // there were messages between the last one of this topic and this: conflated away, or a Gap told of them
}

// Gap tells that the messages of Topic with After < seq < Before are lost for good.
type Gap struct {
	Topic string
	wire.GapPayload
	Raw []byte // as it came
}

// Subscribed tells that the edge has taken a subscription, for the first time
// or after a reconnect.
type Subscribed struct {
	Pattern   string
	Position  wire.Position // reached once what follows has been sent
	Resumed   bool          // a position was asked for
	Recovered bool          // and nothing since then is lost
}

const (
	defaultReadLimit   = 4 << 20
	defaultDialTimeout = 10 * time.Second
	defaultBackoffBase = 500 * time.Millisecond
	defaultBackoffCap  = 30 * time.Second
	defaultHeartbeat   = 25 * time.Second // of an edge that does not say
)

// Validate names every fault of c.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.URL); {
	case c.URL == "":
		fault("URL: missing; for example ws://127.0.0.1:8080/ws")
	case err != nil:
		fault("URL: %w", err)
	case u.Scheme != "ws" && u.Scheme != "wss" && u.Scheme != "http" && u.Scheme != "https":
		fault("URL: %q begins with none of ws://, wss://, http://, https://", c.URL)
	case u.Host == "":
		fault("URL: %q names no host", c.URL)
	case u.Fragment != "":
		fault("URL: %q has a fragment, which a socket cannot", c.URL)
	}
	if c.ReadLimit < 0 {
		fault("ReadLimit: %d is negative", c.ReadLimit)
	}
	for key, d := range map[string]time.Duration{"DialTimeout": c.DialTimeout, "BackoffBase": c.BackoffBase, "BackoffCap": c.BackoffCap} {
		if d < 0 {
			fault("%s: %s is negative", key, d)
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.ReadLimit == 0 {
		c.ReadLimit = defaultReadLimit
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.BackoffBase == 0 {
		c.BackoffBase = defaultBackoffBase
	}
	if c.BackoffCap == 0 {
		c.BackoffCap = defaultBackoffCap
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h := &c.Handler
	if h.Message == nil {
		h.Message = func(Message) {}
	}
	if h.Gap == nil {
		h.Gap = func(Gap) {}
	}
	if h.Subscribed == nil {
		h.Subscribed = func(Subscribed) {}
	}
	if h.Refused == nil {
		h.Refused = func(string, *wire.Error) {}
	}
	if h.Status == nil {
		h.Status = func(wire.StatusPayload) {}
	}
	if h.Connected == nil {
		h.Connected = func(wire.ConnectedPayload) {}
	}
	if h.Disconnected == nil {
		h.Disconnected = func(error, time.Duration) {}
	}
	return c
}
