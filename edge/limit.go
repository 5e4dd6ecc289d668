package edge

import (
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/wire"
)

// limit is one of the bounds on what clients can make an edge hold or do, by its key in the configuration. LIMITS.md has a row for
// each: its default, what happens to who goes beyond it, and why.
type limit string

const (
	limitConnections           limit = "connections"             // open at once, of all clients
	limitConnectionsPerAddress limit = "connections_per_address" // and of one address
	limitConnectionsPerUser    limit = "connections_per_user"    // and of one user
	limitHandshakes            limit = "handshakes_per_second"   // new connections, of all clients
	limitHandshakesPerAddress  limit = "handshakes_per_address"  // and of one address
	limitHandshakeTimeout      limit = "handshake_timeout"       // time for the upgrade request
	limitHeaderBytes           limit = "header_bytes"            // of an upgrade request
	limitHeaders               limit = "headers"                 // of an upgrade request
	limitEventStreams          limit = "event_streams"           // open at once, of all clients
	limitMessages              limit = "messages_per_second"     // of a connection
	limitMessageBytes          limit = "message_bytes"           // of one message
	limitSubscribes            limit = "subscribes_per_second"   // patterns that a connection takes up
	limitSubscriptions         limit = "subscriptions"           // patterns that a connection holds
	limitPatternLiterals       limit = "pattern_literals"        // of each of them: how wide it may be
	limitReplay                limit = "replay"                  // messages that a subscribe brings back
	limitPings                 limit = "pings_per_second"        // of a connection
	limitRefreshes             limit = "refreshes_per_second"    // of a connection
	limitActionsPerUser        limit = "actions_per_user"        // that run at once
	limitActions               limit = "actions_per_second"      // of a user
	limitBadRequests           limit = "bad_requests"            // of a connection within a minute
)

var limits = []limit{limitConnections, limitConnectionsPerAddress, limitConnectionsPerUser, limitHandshakes, limitHandshakesPerAddress, limitHandshakeTimeout,
	limitHeaderBytes, limitHeaders, limitEventStreams, limitMessages, limitMessageBytes, limitSubscribes, limitSubscriptions,
	limitPatternLiterals, limitReplay, limitPings, limitRefreshes, limitActionsPerUser, limitActions, limitBadRequests}

// burst is how much of a rate may come at once after a quiet time: what ten seconds allow.
const burst = 10 * time.Second

// rates are those of each connection.
type rates struct {
	messages, subscribes, pings, refreshes rate
}

func newRates(l *Limits) rates {
	return rates{
		messages:   perSecond(l.MessagesPerSecond, burst),
		subscribes: perSecond(l.SubscribesPerSecond, burst).atOnce(l.Subscriptions), // or a client could not come back
		pings:      perSecond(l.PingsPerSecond, burst),
		refreshes:  perSecond(l.RefreshesPerSecond, burst),
	}
}

// spent is what a connection has used of its rates of late. Who is quiet has none.
type spent struct {
	messages, subscribes, pings, refreshes bucket

	refused int // of what was too much, since
	since   time.Time
}

// insistence is how often within a faultWindow a connection may be told that it asks too much before it is closed.
const insistence = 100

// over takes n out of one of a connection's buckets. If they are not there, it tells the client so, in answer to request id, and
// when to come back; who goes on regardless is closed with 4429. Pings have no id and get no answer (RFC 6455 §5.5.3 asks for one
// to the latest alone).
func (l *loop) over(slot uint32, c *conn, which limit, n int, id uint64) bool {
	if c.spent == nil {
		c.spent = &spent{since: l.now}
		l.spenders = append(l.spenders, ref{slot, c.gen})
	}
	s, r := c.spent, &l.node.rates
	var wait time.Duration
	var what string
	switch which {
	case limitMessages:
		wait, what = r.messages.take(&s.messages, l.now, n), "requests"
	case limitSubscribes:
		wait, what = r.subscribes.take(&s.subscribes, l.now, n), "patterns"
	case limitRefreshes:
		wait, what = r.refreshes.take(&s.refreshes, l.now, n), "refreshes"
	case limitPings:
		wait = r.pings.take(&s.pings, l.now, n)
	}
	if wait == 0 {
		return false
	}
	l.node.metrics.limited[which].Inc()
	if what != "" {
		l.fail(slot, c, id, &wire.Error{Code: wire.TooManyRequests, RetryAfter: wholeMS(wait),
			Message: "too many " + what + " in a short time; this one was not looked at, send it again in a while"})
	}
	if l.now.Sub(s.since) > faultWindow {
		s.refused, s.since = 0, l.now
	}
	if s.refused++; s.refused >= insistence {
		l.giveUpOn(slot, c, wire.CloseTooManyRequests, "too many requests")
	}
	return true
}

// wholeMS rounds a time up to what retry_after_ms can say: who comes a moment early is refused again.
func wholeMS(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// forgive forgets what connections have spent that have all of it again.
func (l *loop) forgive() {
	l.spenders = slices.DeleteFunc(l.spenders, func(r ref) bool {
		c := l.conns.find(r)
		if c == nil {
			return true
		}
		s := c.spent
		if !max(s.messages, s.subscribes, s.pings, s.refreshes).full(l.now) || (s.refused > 0 && l.now.Sub(s.since) <= faultWindow) {
			return false
		}
		c.spent = nil
		return true
	})
	if len(l.spenders) == 0 { // of those who came all at once
		l.spenders = nil
	}
}

// widthAdvice is what the client is told of a pattern that is too wide.
func (e *Edge) widthAdvice(p bus.Pattern) string {
	return fmt.Sprintf("%s matches too much: spell out at least %d of its tokens", p, e.cfg.Limits.PatternLiterals)
}

// tooWide is the first of the patterns that spells out fewer tokens than the edge asks for; false: there is none.
func (e *Edge) tooWide(list []bus.Pattern) (bus.Pattern, bool) {
	for _, p := range list {
		if p.Literals() < e.cfg.Limits.PatternLiterals {
			e.metrics.limited[limitPatternLiterals].Inc()
			return p, true
		}
	}
	return "", false
}
