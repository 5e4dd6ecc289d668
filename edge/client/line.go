package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"tidings/edge/wire"
)

const (
	writeTimeout = 10 * time.Second
	leaveTimeout = time.Second // for the edge to answer our close frame
)

// line is one connection, from its dialling to its end. A goroutine of its own
// dials, reads, and tells Run's goroutine; that one writes.
type line struct {
	// The reader's, until it has told that the line is open; then everyone's to read.
	conn     *websocket.Conn
	greeting wire.ConnectedPayload

	cancel context.CancelFunc // ends it at once
	left   chan struct{}      // closed when nobody is interested in what it says any more

	// Run's goroutine alone.
	open      bool
	since     time.Time // it is open
	successor bool      // another line was delivering when this one opened
	lastID    uint64
	requests  map[uint64]*request
	asked     map[*subscription]bool     // sent, whatever became of it
	held      map[*subscription]*holding // acked
	ack       uint64                     // highest seq of an ack: what comes at or below was promised by one
	busy      bool                       // such a message came since the last heartbeat
	degraded  bool                       // the edge has lost NATS
	moving    *wire.GoingAwayPayload     // the edge wants us to move on
}

// request is a request that is not answered yet.
type request struct {
	subs  []*subscription // of a subscribe; empty: of anything else
	wants []wire.Want
}

// event is what a line tells Run's goroutine. Neither message nor err: it is open.
type event struct {
	line    *line
	text    []byte
	message *wire.Message
	err     error // it has ended
}

// startLine dials in a goroutine that wg counts, and that ends with ctx at the latest.
func startLine(ctx context.Context, cfg *Config, httpClient *http.Client, wg *sync.WaitGroup, events chan<- event) *line {
	ctx, cancel := context.WithCancel(ctx)
	l := &line{
		cancel:   cancel,
		left:     make(chan struct{}),
		requests: map[uint64]*request{},
		asked:    map[*subscription]bool{},
		held:     map[*subscription]*holding{},
	}
	tell := func(e event) {
		e.line = l
		select {
		case events <- e:
		case <-l.left:
		}
	}
	wg.Go(func() {
		defer cancel()
		if err := l.dial(ctx, cfg, httpClient); err != nil {
			tell(event{err: fmt.Errorf("connect: %w", err)})
			return
		}
		defer l.conn.CloseNow()
		tell(event{})
		err := l.read(ctx, tell)
		tell(event{err: err})
	})
	return l
}

// dial connects and waits for the greeting.
func (l *line) dial(ctx context.Context, cfg *Config, httpClient *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	header := cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if cfg.Token != nil {
		token, err := cfg.Token(ctx)
		if err != nil {
			return fmt.Errorf("fetch a token: %w", err)
		}
		header.Set("Authorization", "Bearer "+token)
	}
	options := &websocket.DialOptions{HTTPClient: httpClient, HTTPHeader: header, Subprotocols: []string{wire.Subprotocol}}
	if cfg.Compress {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	conn, resp, err := websocket.Dial(ctx, cfg.URL, options)
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols && resp.Body != nil {
			return refused(resp)
		}
		return err
	}
	conn.SetReadLimit(cfg.ReadLimit)
	if err := l.greet(ctx, conn); err != nil {
		conn.CloseNow()
		return err
	}
	l.conn = conn
	return nil
}

func (l *line) greet(ctx context.Context, conn *websocket.Conn) error {
	_, text, err := conn.Read(ctx)
	if err != nil {
		return closing(err)
	}
	m, err := wire.ParseMessage(text)
	if err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	if m.Type != string(wire.TypeConnected) {
		return errNoGreeting
	}
	if err := json.Unmarshal(m.Payload, &l.greeting); err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	return nil
}

// read tells each message until the line ends. While Run's goroutine is busy it does not read, so that a
// slow handler is felt by the edge; that time does not count as silence.
func (l *line) read(ctx context.Context, tell func(event)) error {
	heartbeat := defaultHeartbeat
	if ms := l.greeting.HeartbeatMS; ms > 0 {
		heartbeat = time.Duration(ms) * time.Millisecond
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(2*heartbeat, func() { cancel(errSilent) })
	defer silence.Stop()
	for {
		kind, text, err := l.conn.Read(ctx)
		if err != nil {
			if context.Cause(ctx) == errSilent {
				return errSilent
			}
			return closing(err)
		}
		silence.Stop()
		if kind != websocket.MessageText {
			return errNotText
		}
		m, err := wire.ParseMessage(text)
		if err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		tell(event{text: text, message: &m})
		silence.Reset(2 * heartbeat)
	}
}

// leave closes the line in good order, or, if the edge does not play along, soon.
// What it still says is read and dropped.
func (l *line) leave(wg *sync.WaitGroup) {
	close(l.left)
	if !l.open {
		l.cancel()
		return
	}
	wg.Go(func() {
		soon := time.AfterFunc(leaveTimeout, func() {
			l.cancel()
			// That ends a read of ours. Where Close was first to wait for the answer, it would do so for five seconds; to read with a
			// context that has ended closes the connection whoever reads.
			over, cancel := context.WithCancel(context.Background())
			cancel()
			l.conn.CloseRead(over)
		})
		defer soon.Stop()
		_ = l.conn.Close(websocket.StatusNormalClosure, "")
	})
}

// send writes a request and gives it an id. A line that takes no request is broken, and the reader will tell so.
func (l *line) send(ctx context.Context, r wire.Request, subs []*subscription) {
	l.lastID++
	r.ID = l.lastID
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := l.conn.Write(ctx, websocket.MessageText, wire.AppendRequest(nil, r)); err != nil {
		l.cancel()
		return
	}
	l.requests[r.ID] = &request{subs: subs, wants: r.Topics}
}
