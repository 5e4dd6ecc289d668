package edge

import (
	"fmt"
	"testing"
)

// What comes late has its place among the others, while there is room; it takes that of no newer one.
func TestRing_WhatComesLateHasItsPlace(t *testing.T) {
	r := ring{floor: 5}
	for _, seq := range []uint64{20, 40, 30, 5, 25, 10, 50} {
		r.add(&frame{seq: seq}, 4)
	}
	var kept []uint64
	for i := range r.n {
		kept = append(kept, r.at(i).seq)
	}
	if fmt.Sprint(kept, r.floor) != "[25 30 40 50] 20" {
		t.Errorf("it keeps %v, and all after %d", kept, r.floor)
	}
	r.add(&frame{seq: 23}, 4)
	if r.n != 4 || r.at(0).seq != 25 || r.floor != 23 {
		t.Errorf("after 23 the oldest is %d, and the floor %d", r.at(0).seq, r.floor)
	}
}

func TestRing_KeepsTheNewestAndKnowsItsFloor(t *testing.T) {
	const most = 8
	var r ring
	for seq := uint64(1); seq <= 100; seq++ {
		r.add(&frame{seq: seq * 10, wire: make([]byte, 5)}, most)
		if r.n > most || r.bytes != 5*r.n {
			t.Fatalf("%d frames with %d bytes", r.n, r.bytes)
		}
		oldest := r.at(0).seq
		if seq > most && r.floor != oldest-10 {
			t.Fatalf("floor %d, but the oldest frame is %d", r.floor, oldest)
		}
		for _, after := range []uint64{0, oldest - 1, oldest, oldest + 5, seq*10 - 1, seq * 10, seq*10 + 1} {
			want := 0
			for want < r.n && r.at(want).seq <= after {
				want++
			}
			if got := r.after(after); got != want {
				t.Fatalf("after %d: index %d, want %d", after, got, want)
			}
		}
	}
}
