package edge

import "testing"

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
