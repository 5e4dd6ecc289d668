package edge

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWheel_FiresOnceAndInTime(t *testing.T) {
	start := time.Now()
	w := &wheel{start: start}
	due := map[uint32]time.Time{}
	for i := range uint32(5000) {
		// Some far beyond what the wheel spans.
		due[i] = start.Add(time.Duration(rand.Int64N(int64(5 * span * tick))))
		w.add(due[i], timer{slot: i})
	}
	now := start
	for len(due) > 0 {
		next := w.next()
		if next.IsZero() {
			t.Fatalf("%d timers are left, but nothing is to be done", len(due))
		}
		// Sometimes the loop is late.
		now = next.Add(time.Duration(rand.Int64N(int64(3 * tick))))
		w.advance(now, func(tm timer) {
			at, ok := due[tm.slot]
			if !ok {
				t.Fatalf("timer %d fired twice", tm.slot)
			}
			if now.Before(at) {
				t.Fatalf("timer %d fired %v too early", tm.slot, at.Sub(now))
			}
			if late := now.Sub(at); late > 5*tick {
				t.Fatalf("timer %d fired %v late", tm.slot, late)
			}
			delete(due, tm.slot)
		})
	}
	if !w.next().IsZero() {
		t.Error("nothing is left, but something is to be done")
	}
}

func TestWheel_TimerSetWhileFiring_FiresLater(t *testing.T) {
	start := time.Now()
	w := &wheel{start: start}
	w.add(start, timer{slot: 1})
	fired := 0
	now := start
	for range 100 {
		now = now.Add(tick)
		w.advance(now, func(tm timer) {
			fired++
			w.add(now.Add(tick), tm)
		})
	}
	if fired < 45 || fired > 51 {
		t.Errorf("a timer that is set anew for a tick later fired %d times in 100 ticks", fired)
	}
}
