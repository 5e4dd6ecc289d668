package bench

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// crowd reads for a share of the clients, on one goroutine.
type crowd struct {
	cfg    Config
	poller *poll.Poller
	ended  chan struct{} // closed when run has returned
	err    error         // with what; after ended

	mu         sync.Mutex
	arrivals   []arrival
	stopped    bool
	start, end time.Time // what was due from start on and before end is measured, whenever it arrives
	storm      time.Time // when one begins; zero: there is none
	calmed     time.Time // when it was over; zero: it is not yet
	tally      tally

	// The goroutine's own.
	decoder *decoder
	clients []*client
	buffer  []byte
}

// arrival is a client on its way to its crowd.
type arrival struct {
	socket poll.Accepted
	left   []byte // what came for it already
	first  int    // its first topic
}

// readSize is what one read takes at least, in bytes.
const readSize = 128 << 10

// eventsMax is how many sockets one turn looks after at most.
const eventsMax = 512

func newCrowd(cfg Config, t topics) (*crowd, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	c := &crowd{
		cfg: cfg, poller: p, ended: make(chan struct{}),
		tally: newTally(), decoder: newDecoder(string(t), cfg.Floor), buffer: make([]byte, 2*readSize),
	}
	go func() {
		defer close(c.ended)
		defer c.poller.Close()
		c.err = c.run()
		c.leave()
	}()
	return c, nil
}

// add hands over a client, which the crowd closes in the end.
func (c *crowd) add(a arrival) {
	c.mu.Lock()
	c.arrivals = append(c.arrivals, a)
	c.mu.Unlock()
	c.poller.Wake()
}

// measure says what is to be measured.
func (c *crowd) measure(start, end time.Time) {
	c.mu.Lock()
	c.start, c.end = start, end
	c.mu.Unlock()
}

// brace says when a storm begins.
func (c *crowd) brace(begin time.Time) {
	c.mu.Lock()
	c.storm = begin
	c.mu.Unlock()
}

// calm says that the storm is over.
func (c *crowd) calm(end time.Time) {
	c.mu.Lock()
	c.calmed = end
	c.mu.Unlock()
}

// count adds what has been counted so far to t.
func (c *crowd) count(t *tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.add(&c.tally)
}

// stop closes all clients and waits.
func (c *crowd) stop() error {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.poller.Wake()
	<-c.ended
	return c.err
}

// idle says that there is nothing to do but what the poller will tell.
func (c *crowd) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.arrivals) == 0 && !c.stopped
}

func (c *crowd) run() error {
	events := make([]poll.Event, eventsMax)
	for {
		n, err := c.poller.Wait(events, time.Time{}, c.idle)
		if err != nil {
			return fmt.Errorf("read for the clients: %w", err)
		}
		c.mu.Lock()
		arrivals, stopped := c.arrivals, c.stopped
		c.arrivals = nil
		c.mu.Unlock()
		for i, a := range arrivals {
			if err := c.welcome(a); err != nil {
				for _, a := range arrivals[i:] {
					a.socket.Close()
				}
				return err
			}
		}
		if stopped {
			return nil
		}
		for _, e := range events[:n] {
			if client := c.clients[e.Token]; !client.closed {
				c.read(client)
			}
		}
	}
}

// welcome takes a client in.
func (c *crowd) welcome(a arrival) error {
	s, err := c.poller.Add(a.socket, poll.Token(len(c.clients)))
	if err != nil {
		return fmt.Errorf("read for the clients: %w", err)
	}
	client := &client{sock: s, first: a.first, last: make([]uint64, c.cfg.Subscriptions)}
	c.clients = append(c.clients, client)
	c.take(client, a.left)
	return nil
}

// read takes what has come for a client.
func (c *crowd) read(client *client) {
	if least := len(client.left) + readSize; len(c.buffer) < least {
		c.buffer = make([]byte, 2*least)
	}
	n := copy(c.buffer, client.left)
	k, err := client.sock.Read(c.buffer[n:])
	switch {
	case errors.Is(err, poll.ErrAgain):
	case errors.Is(err, io.EOF):
		c.lose(client, "the connection ended without a close frame")
	case err != nil:
		c.lose(client, err.Error())
	default:
		c.take(client, c.buffer[:n+k])
	}
}

// take looks at all complete frames of b and keeps the rest for later.
func (c *crowd) take(client *client, b []byte) {
	c.mu.Lock()
	c.tally.bytes += int64(len(b) - len(client.left))
	rest, err := c.frames(client, b, time.Now())
	c.mu.Unlock()
	if err != nil {
		c.lose(client, err.Error())
		return
	}
	if len(rest) == 0 && cap(client.left) > 4<<10 {
		client.left = nil // seldom do many have that much at a time
	}
	client.left = append(client.left[:0], rest...)
}

// frames looks at all complete frames of b and returns the rest. mu is held. The error is the connection's end.
func (c *crowd) frames(client *client, b []byte, now time.Time) (rest []byte, err error) {
	for {
		var f serverFrame
		f, rest, err = split(b)
		switch {
		case errors.Is(err, errIncomplete):
			return b, nil
		case err != nil:
			return nil, err
		}
		b = rest
		switch f.op {
		case ws.OpText:
			r, err := c.decoder.read(f)
			if err != nil {
				return nil, fmt.Errorf("a message cannot be read: %w", err)
			}
			c.message(client, r, now)
		case ws.OpPing:
			_, _ = client.sock.Write(masked(ws.OpPong, f.payload)) // where it does not fit there will be another ping
		case ws.OpClose:
			return nil, errors.New("the edge closed with " + closeReason(f.payload))
		}
	}
}

// message counts a message. mu is held.
func (c *crowd) message(client *client, r reading, now time.Time) {
	t := &c.tally
	switch r.kind {
	case "":
	case wire.TypeGap:
		t.gaps++
		return
	case wire.TypeStatus, wire.TypeGoingAway:
		t.unrest++
		return
	default:
		return
	}
	if r.topic < 0 || r.due == 0 {
		return // none of ours, or its lapse
	}
	t.arrived++
	if r.seq != 0 {
		place := (r.topic - client.first + c.cfg.Topics) % c.cfg.Topics
		if place >= len(client.last) {
			t.strangers++
			return
		}
		last := &client.last[place]
		switch {
		case r.seq <= *last:
			t.repeated++
		case r.prev > *last:
			t.holes++
		}
		*last = max(*last, r.seq)
	}
	due := time.Unix(0, r.due)
	if !due.Before(c.start) && due.Before(c.end) {
		t.latency.record(now.Sub(due), 1)
		if !c.storm.IsZero() {
			t.parts[c.part(due)].record(now.Sub(due), 1)
		}
	}
}

// part is where a message belongs that was due then.
func (c *crowd) part(due time.Time) int {
	switch {
	case due.Before(c.storm):
		return beforeStorm
	case c.calmed.IsZero() || due.Before(c.calmed):
		return duringStorm
	}
	return afterStorm
}

// lose closes a client whose connection is over.
func (c *crowd) lose(client *client, why string) {
	client.closed = true
	client.left = nil
	client.sock.Close()
	c.mu.Lock()
	c.tally.lost[why]++
	c.mu.Unlock()
}

// leave closes all clients, by their own choice (PROTOCOL §5).
func (c *crowd) leave() {
	bye := masked(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	for _, client := range c.clients {
		if !client.closed {
			_, _ = client.sock.Write(bye) // politeness: the socket is closed either way
			client.sock.Close()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.arrivals {
		a.socket.Close()
	}
}
