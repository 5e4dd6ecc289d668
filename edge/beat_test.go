package edge

import (
	"slices"
	"testing"
	"time"
)

// due lists when the timers of a loop's connections call, by slot, in time since it began.
func (s *stage) due() map[uint32]time.Duration {
	due := map[uint32]time.Duration{}
	for _, bucket := range s.loop.timers.buckets {
		for _, tm := range bucket {
			due[tm.slot] = time.Duration(tm.at) * tick
		}
	}
	return due
}

func TestBeat_NeighboursTogetherAndCrowdsApart(t *testing.T) {
	s := set(t)
	l := s.loop
	const period, crowds = 25 * time.Second, 40
	l.now = l.timers.start.Add(100*time.Second + 7*time.Second) // when they come
	s.crowd(crowds * crowd)
	for slot := range uint32(crowds * crowd) {
		l.beat(slot, l.conns.at(slot), 0)
	}
	due := s.due()
	var at []time.Duration
	for slot := range uint32(crowds * crowd) {
		if first := due[slot/crowd*crowd]; due[slot] != first {
			t.Fatalf("connection %d has its heartbeat at %v, the first of its crowd at %v", slot, due[slot], first)
		}
		if wait := due[slot] - l.now.Sub(l.timers.start); wait <= 0 || wait > period+tick {
			t.Fatalf("connection %d waits %v for its first heartbeat", slot, wait)
		}
		if slot%crowd == 0 {
			at = append(at, due[slot])
		}
	}
	slices.Sort(at)
	for i := 1; i < len(at); i++ {
		if gap := at[i] - at[i-1]; gap < period/crowds/3 || gap > 3*period/crowds {
			t.Errorf("%v between two crowds; evenly spread it would be %v", gap, period/crowds)
		}
	}
}

func TestBeat_KeepsItsTime(t *testing.T) {
	s := set(t)
	l := s.loop
	period := l.node.cfg.Heartbeat
	s.crowd(3*crowd + 1)
	const slot = 3 * crowd
	c := l.conns.at(slot)
	l.beat(slot, c, 0)
	before := s.due()[slot]
	for i := range 20 {
		late := time.Duration(i%3) * period / 5
		l.now = l.timers.start.Add(before + late)
		for b := range l.timers.buckets {
			l.timers.buckets[b] = nil
		}
		l.beat(slot, c, period/2)
		due := s.due()[slot]
		if due-before != period {
			t.Fatalf("%v after one that came %v late, and not %v after it was due", due-before, late, period)
		}
		before = due
	}
	l.now = l.timers.start.Add(before + period*9/10) // very late: not two at once
	l.beat(slot, c, period/2)
	if gap := s.due()[slot] - l.now.Sub(l.timers.start); gap < period/2 {
		t.Errorf("%v after one that came very late", gap)
	}
}
