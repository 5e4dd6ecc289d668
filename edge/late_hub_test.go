package edge

import (
	"math"
	"testing"
	"time"

	"tidings/bus"
)

// listening is a hub that a pattern is ready at, and that has passed on all up to a place.
func listening(t *testing.T, p bus.Pattern, at uint64) *hub {
	h := set(t).loop.node.hub
	in := &interest{pattern: p, ready: true, loaded: 5}
	h.interests[p], h.at = in, at
	h.wild = append(h.wild, in)
	return h
}

// What shows to be missing of a topic that was quiet for long, while another one is repaired, does not have all patterns read from there.
func TestMissed_WhileAnotherTopicIsRepaired_IsLeftToTheAudit(t *testing.T) {
	h := listening(t, "orders.*", 1_000_000)
	h.repairing = true
	b := h.batch([]bus.Message{{Topic: "orders.quiet", Seq: 999_990, Payload: []byte(`1`)}})
	if h.again || !h.holes {
		t.Errorf("it is read again: %v, from %d; the audit looks: %v", h.again, h.againAfter, h.holes)
	}
	if b.sure != 999_989 {
		t.Errorf("all up to %d is taken for passed on", b.sure)
	}
}

// Messages without a place do not hide what a repair read.
func TestRepair_WhileMessagesBypassTheStream_PassesOnWhatItRead(t *testing.T) {
	h := listening(t, "orders.*", 10)
	tp := h.topic("orders.a")
	h.holdBack([]bus.Message{{Topic: "orders.b", Payload: []byte(`1`)}})
	h.passOn([]bus.Pattern{"orders.a"}, []bus.Message{{Topic: "orders.a", Seq: 7, Payload: []byte(`1`)}}, math.MaxUint64, time.Now())
	if tp.seq != 7 {
		t.Errorf("orders.a is at %d, where the stream had 7", tp.seq)
	}
}

// A topic that is let go of ends what was kept of reads of it, and of no other.
func TestReread_EndsWithItsTopics(t *testing.T) {
	h := listening(t, "orders.*", 5)
	key := newReplayKey([]bus.Pattern{"orders.*"}, 100)
	b := h.batch([]bus.Message{{Topic: "orders.a", Seq: 7, Payload: []byte(`1`)}})
	h.reread.keep(key, bus.Replay{Position: bus.Position{Seq: 10}}, b)
	other := &topic{name: "metrics.z"}
	h.topics[other.name] = other
	h.rewire(other)
	if _, ok := h.reread.find(key); !ok {
		t.Error("what was read of orders.a is forgotten with metrics.z")
	}
	h.interests["orders.*"].ready = false
	h.rewire(b.topics[0])
	if _, ok := h.reread.find(key); ok {
		t.Error("what was read of a topic that was let go of is found")
	}
}
