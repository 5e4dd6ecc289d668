package publisher

import (
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles with each failure, with full jitter: anything
// from nothing to that, so that many who failed together don't return together.
type backoff struct{ failures int }

func (b *backoff) next(base, most time.Duration) time.Duration {
	most = max(most, base)
	ceiling := most
	if b.failures < 30 && base<<b.failures < most {
		ceiling = base << b.failures
		b.failures++
	}
	return rand.N(ceiling) + 1
}
