package bus

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Listener takes the live messages of many patterns into one channel, in the order in which NATS sends them. A topic that
// two of its patterns match arrives twice: leave out patterns that another one covers.
//
// When the channel is full NATS' client drops what comes, rather than wait: it reads for all. Each pattern of which
// messages were dropped is then told by Dropped, again and again as long as there are more, so that a read of the
// stream that starts after it was told brings back what it stands for.
type Listener struct {
	conn *Conn
	msgs chan *nats.Msg

	dropped chan Pattern
	stop    chan struct{}
	done    chan struct{}
	wake    chan struct{} // room for one: there is a suspect

	mu     sync.Mutex
	subs   map[Pattern]*subscription
	closed bool
}

// subscription is one pattern of a Listener. NATS' client calls back for the first drop in a row only; until it delivers
// again it is suspect, and its drops are looked up.
type subscription struct {
	sub       *nats.Subscription
	suspect   bool
	dropped   int   // as counted
	delivered int64 // when last looked at
}

// suspectInterval is how often those that drop are looked at.
const suspectInterval = 50 * time.Millisecond

// Listen makes a Listener whose channel has room for capacity messages. It is closed by its owner, or with c.
func (c *Conn) Listen(capacity int) *Listener {
	l := &Listener{
		conn:    c,
		msgs:    make(chan *nats.Msg, capacity),
		dropped: make(chan Pattern),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		subs:    map[Pattern]*subscription{},
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.listeners[l] = struct{}{}
	}
	c.mu.Unlock()
	if closed { // Add will say so
		l.closed = true
		close(l.done)
		return l
	}
	go l.tellDrops()
	return l
}

// C is where the messages arrive, for Decode. It is never closed.
func (l *Listener) C() <-chan *nats.Msg { return l.msgs }

// Dropped tells patterns of which messages were lost on the way from NATS to C. It is never closed.
func (l *Listener) Dropped() <-chan Pattern { return l.dropped }

// Add subscribes to the live messages of p. It is in force once Flush has returned; through reconnects it stays.
func (l *Listener) Add(p Pattern) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("listen to %s: %w", p, ErrClosed)
	}
	if l.subs[p] != nil {
		return fmt.Errorf("listen to %s: already listening", p)
	}
	sub, err := l.conn.nc.ChanSubscribe(l.conn.subjects.livePattern(p), l.msgs)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", p, lineError(err))
	}
	l.subs[p] = &subscription{sub: sub}
	l.conn.metrics.subscriptions.Inc()
	return nil
}

// Remove ends the subscription to p. Messages of it may still be in the channel.
func (l *Listener) Remove(p Pattern) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.subs[p]
	if s == nil {
		return fmt.Errorf("stop listening to %s: not listening", p)
	}
	if err := l.end(p, s); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stop listening to %s: %w", p, err)
	}
	return nil
}

// Close ends all subscriptions. It may be called twice.
func (l *Listener) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.done
		return
	}
	l.closed = true
	for p, s := range l.subs {
		_ = l.end(p, s) // fails only when the line is closed, and the subscription with it
	}
	l.mu.Unlock()
	close(l.stop)
	<-l.done
	l.conn.mu.Lock()
	delete(l.conn.listeners, l)
	l.conn.mu.Unlock()
}

// end is called with mu held.
func (l *Listener) end(p Pattern, s *subscription) error {
	l.countDrops(s)
	delete(l.subs, p)
	l.conn.metrics.subscriptions.Dec()
	return s.sub.Unsubscribe()
}

// overflowed is called for the first of a row of drops of any Listener.
func (l *Listener) overflowed(sub *nats.Subscription) {
	l.mu.Lock()
	for _, s := range l.subs {
		if s.sub == sub {
			s.suspect = true
		}
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tellDrops looks at the suspects and tells which of them have dropped more.
func (l *Listener) tellDrops() {
	defer close(l.done)
	look := time.NewTicker(suspectInterval)
	defer look.Stop()
	for {
		watching := look.C
		if !l.hasSuspects() {
			watching = nil
		}
		select {
		case <-l.stop:
			return
		case <-l.wake:
		case <-watching:
		}
		for _, p := range l.moreDropped() {
			select {
			case <-l.stop:
				return
			case l.dropped <- p:
			}
		}
	}
}

func (l *Listener) hasSuspects() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.subs {
		if s.suspect {
			return true
		}
	}
	return false
}

// moreDropped are the patterns with drops that were not told yet. A suspect that delivered since it was last looked at,
// and dropped nothing, is none any more: NATS' client will call back for its next drop.
func (l *Listener) moreDropped() []Pattern {
	l.mu.Lock()
	defer l.mu.Unlock()
	var patterns []Pattern
	for p, s := range l.subs {
		if !s.suspect {
			continue
		}
		delivered, err := s.sub.Delivered()
		if err != nil { // the line is closed
			s.suspect = false
			continue
		}
		if l.countDrops(s) > 0 {
			patterns = append(patterns, p)
		} else if delivered > s.delivered {
			s.suspect = false
		}
		s.delivered = delivered
	}
	return patterns
}

// countDrops says how many messages s has dropped since it was last asked.
func (l *Listener) countDrops(s *subscription) int {
	total, err := s.sub.Dropped()
	if err != nil {
		return 0
	}
	more := total - s.dropped
	s.dropped = total
	l.conn.metrics.drops.Add(float64(more))
	return more
}
