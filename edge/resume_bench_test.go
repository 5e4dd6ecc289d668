package edge_test

import (
	"testing"

	"tidings/edge"
)

// A client that comes back 1,000 messages behind, from its subscribe to the last of them: from what the edge has in memory,
// from the stream, and by a read of the stream that was another one's.
func BenchmarkResumeOf1000(b *testing.B) {
	const missed, before = 1000, 8000
	for _, from := range []string{"ring", "stream", "shared"} {
		b.Run(from, func(b *testing.B) {
			c := newCluster(b, limited(1_000_000))
			c.burst("other.a", 0, before) // places from which the same is missing
			n := c.edge(func(cfg *edge.Config) {
				cfg.Loops, cfg.Limits.Recent = 1, 1
				if from == "ring" {
					cfg.Limits.Recent = missed
				}
			})
			n.dial().subscribe("orders.a")
			last := c.burst("orders.a", 1, missed)
			c.hears(n, missed)
			client, reads := n.dial(), n.value("tidings_edge_replays_total", "cause", "resume")
			place, epoch := uint64(before), c.epoch()
			for b.Loop() {
				if from == "stream" && place > 1 {
					place-- // no read from a later place can be shared
				}
				client.subscribe(since("orders.a", epoch, place))
				for client.next().Seq != last {
				}
				client.unsubscribe("orders.a")
			}
			b.ReportMetric((n.value("tidings_edge_replays_total", "cause", "resume")-reads)/float64(b.N), "reads/op")
		})
	}
}
