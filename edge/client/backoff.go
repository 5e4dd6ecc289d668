package client

import (
	"math/rand/v2"
	"time"
)

// steady is how long a connection stands until an earlier failure is forgotten.
const steady = 10 * time.Second

// backoff is the waits between attempts, with full jitter: each is random from
// nothing to a bound that doubles. So the clients of an edge that died come back
// spread out, and not in waves.
type backoff struct {
	base, cap time.Duration
	failures  int
}

// next is the wait after one more failure, and never less than atLeast.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	bound := b.cap
	if b.failures < 30 { // beyond, the shift would overflow
		bound = min(b.base<<b.failures, b.cap)
	}
	b.failures++
	return atLeast + rand.N(bound+1)
}

func (b *backoff) reset() { b.failures = 0 }
