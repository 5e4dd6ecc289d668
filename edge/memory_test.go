package edge

import (
	"math"
	"testing"
	"time"
)

// Clients are refused before the collector has to run all the time, and wherever that point is, the door does not flap there.
func TestMemory_IsTightWhileLittleIsLeftToAllocate(t *testing.T) {
	const MiB = 1 << 20
	for name, c := range map[string]struct {
		memory
		before, want bool
	}{
		"no limit":                        {memory: memory{limit: math.MaxInt64, others: 8 * MiB, live: 8000 * MiB}},
		"no limit any more":               {memory: memory{limit: math.MaxInt64, others: 8 * MiB, live: 8000 * MiB}, before: true},
		"just started":                    {memory: memory{limit: 32 * MiB, others: 7 * MiB, live: 2 * MiB}},
		"30,000 idle clients in 64 MiB":   {memory: memory{limit: 64 * MiB, others: 11 * MiB, live: 30 * MiB}},
		"the collector is at half pace":   {memory: memory{limit: 32 * MiB, others: 8 * MiB, live: 15 * MiB}},
		"a fifth of what lives is left":   {memory: memory{limit: 32 * MiB, others: 9 * MiB, live: 18 * MiB}},
		"less than that":                  {memory: memory{limit: 32 * MiB, others: 9 * MiB, live: 19 * MiB}, want: true},
		"less than that of much":          {memory: memory{limit: 4000 * MiB, others: 400 * MiB, live: 3000 * MiB}, want: true},
		"between, and it was open":        {memory: memory{limit: 32 * MiB, others: 9 * MiB, live: 17500 << 10}},
		"between, and it was closed":      {memory: memory{limit: 32 * MiB, others: 9 * MiB, live: 17500 << 10}, before: true, want: true},
		"a third is free again":           {memory: memory{limit: 32 * MiB, others: 9 * MiB, live: 16 * MiB}, before: true},
		"others alone are over the limit": {memory: memory{limit: 8 * MiB, others: 9 * MiB, live: 1 * MiB}, want: true},
	} {
		if got := c.tight(c.before); got != c.want {
			t.Errorf("%s: tight is %v, with %.1f MiB left of %d", name, got, c.left()/MiB, c.live/MiB)
		}
	}
}

// What those free who leave is seen soon, for a hundredth of a core.
func TestMemory_IsCollectedWhileClientsAreRefused(t *testing.T) {
	for live, want := range map[uint64]time.Duration{1 << 20: time.Second, 20 << 20: time.Second, 1 << 30: 51200 * time.Millisecond} {
		if got := stale(live); got != want {
			t.Errorf("with %d MiB after %v, want %v", live>>20, got, want)
		}
	}
}
