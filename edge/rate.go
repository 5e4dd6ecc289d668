package edge

import "time"

// rate bounds how often something may happen: so many times a second, and a burst at once by who was quiet before. It is the
// generic cell rate algorithm, in which all that a bucket has to remember is the time at which it will be full again.
type rate struct {
	each  time.Duration // that one of them takes to come back
	burst time.Duration // that an empty bucket takes to fill
}

// perSecond is a rate of n a second, with as many at once as come back within a time.
func perSecond(n int, burst time.Duration) rate {
	return rate{each: time.Second / time.Duration(n), burst: burst}
}

// atOnce is the rate with a burst of n at least.
func (r rate) atOnce(n int) rate {
	r.burst = max(r.burst, time.Duration(n)*r.each)
	return r
}

// bucket is what a rate remembers: when it is full again, as time since the program began. It is full at first.
type bucket time.Duration

// began makes times comparable that clocks set meanwhile do not change.
var began = time.Now()

// full reports whether nothing is missing in a bucket.
func (b bucket) full(now time.Time) bool { return time.Duration(b) <= now.Sub(began) }

// take takes n out of a bucket. What is not there is not taken, and the time until it will be is returned.
func (r rate) take(b *bucket, now time.Time, n int) (wait time.Duration) {
	at := now.Sub(began)
	after := max(time.Duration(*b), at) + time.Duration(n)*r.each
	if wait = after - at - r.burst; wait > 0 {
		return wait
	}
	*b = bucket(after)
	return 0
}
