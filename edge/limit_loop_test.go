package edge

import (
	"testing"
	"time"
)

// What a connection has used of its rates takes memory while it counts and no longer, whether or not the connection stays.
func TestSpent_IsForgottenOnceAllOfItIsBack(t *testing.T) {
	s := set(t)
	l := s.loop
	l.node.rates = newRates(&l.node.cfg.Limits)
	s.clients(3)
	for slot := range uint32(3) {
		l.over(slot, l.conns.at(slot), limitMessages, 1, 1)
	}
	l.over(1, l.conns.at(1), limitMessages, 5*l.node.cfg.Limits.MessagesPerSecond, 2) // five seconds' worth
	l.drop(2, l.conns.at(2), 0)
	l.forgive()
	if l.conns.at(0).spent == nil {
		t.Error("it is forgotten before it is back")
	}
	l.now = l.now.Add(time.Second)
	l.forgive()
	if l.conns.at(0).spent != nil || l.conns.at(1).spent == nil {
		t.Error("after a second one of two is to be forgotten: who spent little")
	}
	if len(l.spenders) != 1 {
		t.Errorf("%d connections are to be looked at", len(l.spenders))
	}
	if at := l.wakeAt(); at.IsZero() || at.After(l.now.Add(time.Second)) {
		t.Errorf("the loop sleeps until %v, and nobody looks", at)
	}
	l.now = l.now.Add(5 * time.Second)
	l.forgive()
	if l.conns.at(1).spent != nil || l.spenders != nil {
		t.Error("something is left")
	}
}

// Who was told to ask less is remembered for longer: who goes on regardless is to be closed.
func TestSpent_RefusalsAreRememberedForAWindow(t *testing.T) {
	s := set(t)
	l := s.loop
	l.node.rates = newRates(&l.node.cfg.Limits)
	s.clients(1)
	c := l.conns.at(0)
	if !l.over(0, c, limitMessages, 100*l.node.cfg.Limits.MessagesPerSecond, 1) {
		t.Fatal("it was not too much")
	}
	l.now = l.now.Add(faultWindow)
	l.forgive()
	if c.spent == nil {
		t.Error("the refusal is forgotten")
	}
	l.now = l.now.Add(time.Second)
	l.forgive()
	if c.spent != nil {
		t.Error("the refusal is remembered for ever")
	}
}
