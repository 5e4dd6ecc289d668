package edge

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// requests are n heartbeat requests with the ids from first.
func requests(first, n int) []byte {
	var all []byte
	for id := first; id < first+n; id++ {
		f := ws.MaskFrameInPlaceWith(ws.NewTextFrame(fmt.Appendf(nil, `{"type":"heartbeat","id":%d}`, id)), [4]byte{1, 2, 3, 4})
		all = append(all, ws.MustCompileFrame(f)...)
	}
	return all
}

// What one turn looks at of a client is bounded, whatever the client sends, and nothing of the rest is lost.
func TestFlood_OneTurnLooksAtABoundedPartOfIt(t *testing.T) {
	s := set(t)
	s.loop.node.rates = newRates(&Limits{MessagesPerSecond: rateMax, SubscribesPerSecond: 1, PingsPerSecond: rateMax, RefreshesPerSecond: 1})
	for name, flood := range map[string][]byte{
		"requests":        requests(1, 1000),
		"pings":           bytes.Repeat(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewPingFrame(nil), [4]byte{1})), 1000),
		"pongs":           bytes.Repeat(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewPongFrame(nil), [4]byte{1})), 1000),
		"empty fragments": append(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewFrame(ws.OpText, false, nil), [4]byte{1})), bytes.Repeat(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewFrame(ws.OpContinuation, false, nil), [4]byte{1})), 999)...),
	} {
		t.Run(name, func(t *testing.T) {
			v := s.visitor(serving)
			v.conn.session = s.loop.node.anyone
			each := len(flood) / 1000
			left := len(flood)
			v.loop.received(v.slot, v.conn, flood)
			for turns := 1; ; turns++ {
				rest := 0
				if v.conn.input != nil {
					rest = len(v.conn.input.raw)
				}
				if looked := (left - rest) / each; looked > 64 {
					t.Fatalf("turn %d looked at %d frames", turns, looked)
				}
				if left = rest; left == 0 {
					if turns < 1000/64 {
						t.Errorf("it was over after %d turns", turns)
					}
					break
				}
				if turns > 1000 || !v.conn.waits {
					t.Fatalf("after %d turns %d bytes lie there", turns, left)
				}
				s.forget()
				v.loop.goOn()
			}
			if v.conn.waits || len(v.loop.waiting) != 0 {
				t.Error("it waits for nothing")
			}
		})
	}
}
