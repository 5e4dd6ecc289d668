package edge_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/wire"
)

// Clients that read at their whim while they subscribe and unsubscribe: of `every` topics nothing is missing, whatever happens.
func TestSlowClient_AtItsWhim_MissesNothing(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	n := c.edge(small, func(cfg *edge.Config) { cfg.Limits.Recent = 32 })
	stop := c.torrentOf(strings.Repeat("x", 700), "orders.a", "orders.b", "metrics.a")
	defer stop()
	done := make(chan struct{})
	const clients = 6
	for seed := range uint64(clients) {
		p := n.peer(4096)
		go func() {
			defer func() { done <- struct{}{} }()
			whim(t, p, rand.New(rand.NewPCG(seed, 7)))
		}()
	}
	for range clients {
		<-done
	}
}

// whim plays one such client. It stops at the first fault.
func whim(t *testing.T, p *peer, r *rand.Rand) {
	type asked struct {
		kind    string
		pattern bus.Pattern
	}
	var (
		id, answered uint64
		open         []asked                    // requests without an answer
		held         = map[bus.Pattern]uint64{} // patterns, and the place from which each is live
		last         = map[string]uint64{}      // of each topic
		patterns     = []bus.Pattern{"orders.*", "orders.a", "*.b", "orders.b", "metrics.a", "*.a"}
	)
	for range 200 {
		if r.IntN(4) == 0 && len(open) < 5 {
			a := asked{"subscribe", patterns[r.IntN(len(patterns))]}
			if r.IntN(3) == 0 {
				a.kind = "unsubscribe"
			}
			id++
			if _, err := p.conn.Write(masked(true, ws.OpText, fmt.Appendf(nil, `{"type":"%s","id":%d,"topics":["%s"]}`, a.kind, id, a.pattern))); err != nil {
				t.Errorf("send: %v", err)
				return
			}
			open = append(open, a)
		}
		if r.IntN(10) == 0 {
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		for i := r.IntN(20); i > 0 && len(open)+len(held) > 0; i-- { // or nothing would come
			f, err := p.tryFrame()
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			if f.Header.OpCode != ws.OpText {
				continue
			}
			m, err := wire.ParseMessage(f.Payload)
			switch {
			case err != nil:
				t.Error(err)
				return
			case m.Type == "ack":
				answered++
				if m.ID != answered {
					t.Errorf("got %s, want the ack of %d", f.Payload, answered)
					return
				}
				a := open[0]
				open = open[1:]
				var ack wire.AckPayload
				_, was := held[a.pattern]
				switch {
				case a.kind == "unsubscribe":
					delete(held, a.pattern)
				case was:
				case json.Unmarshal(m.Payload, &ack) == nil:
					held[a.pattern] = ack.Topics[0].Seq
				}
			case m.Type == "metrics":
			case m.Type == "orders":
				matched := false
				for pattern, from := range held {
					if !pattern.Matches(bus.Topic(m.Topic)) {
						continue
					}
					matched = true
					if m.Prev > max(from, last[m.Topic]) {
						t.Errorf("%s is live from %d, and after %d came %.100s", pattern, from, last[m.Topic], f.Payload)
						return
					}
				}
				if !matched || m.Seq <= last[m.Topic] {
					t.Errorf("holding %v, after %d came %.100s", held, last[m.Topic], f.Payload)
					return
				}
				last[m.Topic] = m.Seq
			default:
				t.Errorf("got %s", f.Payload)
				return
			}
		}
	}
}
