package edge

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestRate_AllowsABurstAndThenItsPace(t *testing.T) {
	r, now := perSecond(10, 2*time.Second), time.Now()
	var b bucket
	for i := range 20 {
		if wait := r.take(&b, now, 1); wait != 0 {
			t.Fatalf("the %d-th has to wait %v", i, wait)
		}
	}
	for range 3 { // asking in vain costs nothing
		if wait := r.take(&b, now, 1); wait != 100*time.Millisecond {
			t.Fatalf("wait %v", wait)
		}
	}
	if wait := r.take(&b, now, 5); wait != 500*time.Millisecond {
		t.Errorf("five have to wait %v", wait)
	}
	now = now.Add(500 * time.Millisecond)
	if wait := r.take(&b, now, 5); wait != 0 {
		t.Errorf("which is over, and they have to wait %v", wait)
	}
	if b.full(now.Add(2*time.Second-1)) || !b.full(now.Add(2*time.Second)) {
		t.Error("it is not full again after two seconds")
	}
	if got := perSecond(1, time.Second).atOnce(5).burst; got != 5*time.Second {
		t.Errorf("five at once fill again in %v", got)
	}
}

// The door of an edge with small limits.
func smallDoor() *door {
	limits := Limits{ConnectionsPerAddress: 3, HandshakesPerAddress: 10, HandshakesPerSecond: 100_000, ActionsPerSecond: 1}
	proxies, _ := parseProxies([]string{"10.0.0.0/8"})
	return newDoor(&limits, proxies, newMetrics(nil))
}

func TestDoor_LimitsAnAddress_ButNotThoseOfProxiesAndOfThisMachine(t *testing.T) {
	d, now := smallDoor(), time.Now()
	in := func(addr string) int {
		n := 0
		for ; n < 10; n++ {
			if d.knock(netip.MustParseAddr(addr), now) != nil {
				break
			}
		}
		return n
	}
	for addr, most := range map[string]int{
		"198.51.100.1": 3, "198.51.100.2": 3, "2001:db8:0:1::1": 3, "2001:db8:0:2::1": 3,
		"127.0.0.1": 10, "127.9.9.9": 10, "::1": 10, "10.1.2.3": 10,
	} {
		if got := in(addr); got != most {
			t.Errorf("%s: %d came in, want %d", addr, got, most)
		}
	}
	if got := in("2001:db8:0:1:ffff::1"); got != 0 {
		t.Errorf("%d more of a /64 that is full came in", got)
	}
	if r := d.knock(netip.Addr{}, now); r != nil {
		t.Errorf("what has no address: %s", r.message)
	}
	d.leave(netip.MustParseAddr("2001:db8:0:1:abcd::1"))
	if got := in("2001:db8:0:1:ffff::1"); got != 1 {
		t.Errorf("one left, and %d came in", got)
	}
}

func TestDoor_WhoKnocksAllTheTime_TakesNothingFromOthers(t *testing.T) {
	limits := Limits{ConnectionsPerAddress: 10_000, HandshakesPerAddress: 1, HandshakesPerSecond: 20, ActionsPerSecond: 1}
	d, now := newDoor(&limits, nil, newMetrics(nil)), time.Now()
	greedy, other := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	in := 0
	for range 1000 {
		if d.knock(greedy, now) == nil {
			in++
		}
	}
	if in != 10 {
		t.Errorf("%d came in, want what ten seconds allow", in)
	}
	if r := d.knock(other, now); r != nil {
		t.Errorf("another address: %s", r.message)
	}
}

// An attacker has as many addresses as it likes. What is remembered of those that left is bounded by what may be let in while a
// bucket fills.
func TestDoor_ForgetsWhoLeft(t *testing.T) {
	d, now := smallDoor(), time.Now()
	most := 0
	for i := range 200_000 {
		addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))
		if r := d.knock(addr, now); r != nil {
			t.Fatal(r.message)
		}
		d.leave(addr)
		now = now.Add(100 * time.Microsecond)
		most = max(most, len(d.addresses.open))
	}
	if most > 4*sweepMin { // a bucket of these fills within 100 ms, in which a thousand come
		t.Errorf("it remembered %d addresses", most)
	}
	for i := range 5000 { // those that stay are remembered, and forgotten when they have left
		d.knock(netip.MustParseAddr(fmt.Sprintf("2001:db9:%x::1", i)), now)
	}
	if got := len(d.addresses.open); got < 5000 {
		t.Errorf("it remembers %d of 5,000 addresses with connections", got)
	}
	for i := range 5000 {
		d.leave(netip.MustParseAddr(fmt.Sprintf("2001:db9:%x::1", i)))
	}
	now = now.Add(time.Minute)
	for i := range 5000 {
		addr := netip.MustParseAddr(fmt.Sprintf("2001:dba:%x::1", i))
		d.knock(addr, now)
		d.leave(addr)
		now = now.Add(time.Second)
	}
	if got := len(d.addresses.open); got > 2*sweepMin {
		t.Errorf("it remembers %d addresses", got)
	}
}
