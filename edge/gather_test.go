package edge

import (
	"testing"
	"time"
)

func TestGather_SingleMessagesNeverWait(t *testing.T) {
	g := gather{most: 5 * time.Millisecond}
	now := time.Now()
	for range 10 {
		if !g.opens(now) {
			t.Fatal("a message after a silence waited, though the last one came alone")
		}
		g.done(now, 100*time.Microsecond, 1)
		now = now.Add(100 * time.Millisecond)
	}
}

func TestGather_ABurstIsWaitedForWhenTheLastOneHadSeveral(t *testing.T) {
	g := gather{most: 5 * time.Millisecond}
	now := time.Now()
	for range 50 { // come one by one, and are delivered so the first time
		if !g.opens(now) {
			t.Fatal("the first burst waited: nothing told that it would be one")
		}
		g.done(now, 0, 1)
		now = now.Add(20 * time.Microsecond)
	}
	now = now.Add(time.Second)
	if g.opens(now) {
		t.Fatal("the next burst was not waited for")
	}
	g.done(now, 10*time.Microsecond, 0)
	now = now.Add(settle / 2)
	if g.opens(now) { // woken meanwhile, by a socket
		t.Fatal("the wait ended before its time")
	}
	g.done(now, 10*time.Microsecond, 0)
	if now = now.Add(settle/2 + 1); !g.opens(now) {
		t.Fatal("the wait did not end")
	}
	g.done(now, time.Millisecond, 1)
	if now = now.Add(time.Second); !g.opens(now) {
		t.Fatal("a message waited though the last burst was a single one")
	}
}

func TestGather_ABusyLoopWritesForHalfOfItsTime(t *testing.T) {
	g := gather{most: 5 * time.Millisecond}
	now := time.Now()
	if !g.opens(now) {
		t.Fatal("the first message waited")
	}
	g.done(now, 3*time.Millisecond, 1)
	if now = now.Add(5 * time.Millisecond); g.opens(now) {
		t.Fatal("messages did not gather for as long as the turn before had taken")
	}
	if now = now.Add(time.Millisecond); !g.opens(now) {
		t.Fatal("messages gathered for longer than the turn before had taken")
	}
	g.done(now, time.Second, 1)
	if now = now.Add(time.Second + 5*time.Millisecond); !g.opens(now) {
		t.Fatal("messages gathered for longer than the most that they may")
	}
}

func TestGather_SwitchedOff_NothingWaits(t *testing.T) {
	g := gather{most: -1}
	now := time.Now()
	for range 3 {
		if !g.opens(now) {
			t.Fatal("it waited")
		}
		g.done(now, 3*time.Millisecond, 10)
		now = now.Add(3 * time.Millisecond)
	}
	if !g.opens(now.Add(time.Second)) {
		t.Fatal("it waited for a burst")
	}
}

// A socket or a request that has the loop take its inbox without a message is no burst, and hides none.
func TestGather_RequestsAreNoBurst(t *testing.T) {
	g := gather{most: 5 * time.Millisecond, burst: 50}
	now := time.Now()
	if g.opens(now) {
		t.Fatal("not waited for")
	}
	g.done(now, 0, 0)
	if now = now.Add(settle); !g.opens(now) {
		t.Fatal("the wait did not end")
	}
	g.done(now, 0, 0)
	if now = now.Add(time.Second); g.opens(now) {
		t.Fatal("a request made the loop forget that bursts come")
	}
}
