package edge

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"tidings/edge/wire"
)

// door decides who comes in, and counts who is. Each connection passes it once on its way in, and once on its way out; nothing that
// happens in between touches it.
//
// An address is limited as the network that one customer has: of IPv6 that is a /64. Not limited are addresses of this machine, which are
// its own programs' and proxies', and those of trusted proxies, which stand for many; whom they forward is.
type door struct {
	limits     *Limits
	proxies    proxies
	metrics    *metrics
	handshakes rate
	perAddress rate

	addresses accounts[netip.Addr]
	users     accounts[string] // by the sub of their tokens
	acts      rate

	mu  sync.Mutex
	all bucket // of handshakes
}

func newDoor(limits *Limits, proxies proxies, m *metrics) *door {
	return &door{limits: limits, proxies: proxies, metrics: m,
		handshakes: perSecond(limits.HandshakesPerSecond, time.Second),
		perAddress: perSecond(limits.HandshakesPerAddress, burst),
		acts:       perSecond(limits.ActionsPerSecond, burst)}
}

// knock is asked for each connection that was accepted. nil: it may go on. What comes by a proxy passes for the proxy here, and has to
// be admitted once its client is known.
func (d *door) knock(peer netip.Addr, now time.Time) *refusal {
	// An address comes first: one that knocks all the time is not to use up the handshakes of the others.
	if r := d.admit(peer, now); r != nil {
		return r
	}
	d.mu.Lock()
	wait := d.handshakes.take(&d.all, now, 1)
	d.mu.Unlock()
	if wait > 0 {
		d.leave(peer)
		d.metrics.limited[limitHandshakes].Inc()
		return &refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, result: handshakeLimited, headers: retryAfter(wait),
			message: "this node takes in as many clients as it may; try again in a moment or elsewhere"}
	}
	return nil
}

// admit counts a connection of a client, unless that has come too often or has too many. leave takes it off again.
func (d *door) admit(client netip.Addr, now time.Time) *refusal {
	if d.exempt(client) {
		return nil
	}
	if r := d.ask(client, now); r != nil {
		return r
	}
	return d.count(client, now)
}

// count is admit for who was asked already.
func (d *door) count(client netip.Addr, now time.Time) *refusal {
	if d.exempt(client) {
		return nil
	}
	if !d.addresses.enter(network(client), d.limits.ConnectionsPerAddress, now) {
		d.metrics.limited[limitConnectionsPerAddress].Inc()
		return d.tooMany(placeWait, "too many connections from this address; close some, or have the operator raise limits.connections_per_address "+
			"or, if the address is a proxy's, name it in trusted_proxies")
	}
	return nil
}

// ask is asked for each handshake of a client, and for each HTTP request.
func (d *door) ask(client netip.Addr, now time.Time) *refusal {
	if d.exempt(client) {
		return nil
	}
	if wait := d.addresses.take(network(client), d.perAddress, now); wait > 0 {
		d.metrics.limited[limitHandshakesPerAddress].Inc()
		return d.tooMany(wait, "too many handshakes and requests from this address; wait, or have the operator raise limits.handshakes_per_address "+
			"or, if the address is a proxy's, name it in trusted_proxies")
	}
	return nil
}

// leave takes off a connection that was admitted.
func (d *door) leave(client netip.Addr) {
	if !d.exempt(client) {
		d.addresses.leave(network(client))
	}
}

// admitUser counts a connection of a user, unless that has too many. leaveUser takes it off again. Who has no sub is nobody's user.
func (d *door) admitUser(sub string, now time.Time) *refusal {
	if sub == "" || d.users.enter(sub, d.limits.ConnectionsPerUser, now) {
		return nil
	}
	d.metrics.limited[limitConnectionsPerUser].Inc()
	return d.tooMany(placeWait, "too many connections with tokens of this user; close some, or have the operator raise limits.connections_per_user")
}

func (d *door) leaveUser(sub string) {
	if sub != "" {
		d.users.leave(sub)
	}
}

// beginAction counts an action of a user that runs until endAction, unless that asks for too many. All that have no sub are one user here.
func (d *door) beginAction(sub string, now time.Time) *wire.Error {
	full, wait := d.users.begin(sub, d.limits.ActionsPerUser, d.acts, now)
	switch {
	case full:
		d.metrics.limited[limitActionsPerUser].Inc()
		return &wire.Error{Code: wire.TooManyRequests, RetryAfter: time.Second,
			Message: "a user may have " + strconv.Itoa(d.limits.ActionsPerUser) + " actions under way; wait until one has ended"}
	case wait > 0:
		d.metrics.limited[limitActions].Inc()
		return &wire.Error{Code: wire.TooManyRequests, RetryAfter: wholeMS(wait), Message: "too many actions of this user in a short time; ask again in a while"}
	}
	return nil
}

func (d *door) endAction(sub string) { d.users.end(sub) }

// mayRecord says whether one more refused action of a user is to be recorded. There are as many as it may have done: who has no grant at
// all could otherwise fill a host's record, push out of it what others did, and keep its publisher busy.
func (d *door) mayRecord(sub string, now time.Time) bool { return d.users.refuse(sub, d.acts, now) }

func (d *door) exempt(addr netip.Addr) bool {
	return !addr.IsValid() || addr.IsLoopback() || d.proxies.trust(addr)
}

// placeWait is when somebody may come again who has to wait for others to leave.
const placeWait = 5 * time.Second

func (d *door) tooMany(wait time.Duration, message string) *refusal {
	return &refusal{status: http.StatusTooManyRequests, code: wire.TooManyRequests, result: handshakeLimited, headers: retryAfter(wait), message: message}
}

// network is what is limited together with an address.
func network(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	p, _ := addr.WithZone("").Prefix(64) // fails for what is no address, and was exempt
	return p.Addr()
}
