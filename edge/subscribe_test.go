package edge_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/edge"
)

// torrent publishes to topics in turn as fast as the stream takes it, until the test ends.
func (c *cluster) torrent(topics ...string) (stop func()) {
	c.t.Helper()
	return c.torrentOf("", topics...)
}

// torrentOf is torrent with something in each message that makes it larger.
func (c *cluster) torrentOf(pad string, topics ...string) (stop func()) {
	c.t.Helper()
	return c.flow(64, pad, topics...)
}

// flow publishes until it is stopped, as fast as the stream acknowledges with so many messages under way.
func (c *cluster) flow(window int, pad string, topics ...string) (stop func()) {
	c.t.Helper()
	line := c.line()
	js, err := line.JetStream(nats.PublishAsyncMaxPending(window))
	if err != nil {
		c.t.Fatal(err)
	}
	var end atomic.Bool
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; !end.Load(); i++ {
			if _, err := js.PublishAsync("tidings.pub."+topics[i%len(topics)], fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, pad), nats.StallWait(patience)); err != nil && !end.Load() {
				c.t.Errorf("publish: %v", err)
				return
			}
		}
		<-js.PublishAsyncComplete()
	}()
	stop = func() {
		end.Store(true)
		<-over
		line.Close()
	}
	c.t.Cleanup(stop)
	return stop
}

func TestSubscribe_JoinsWithoutHole(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	// Topics with many tokens match many patterns, each of which the edge has to begin anew.
	values, events := []string{"metrics.a.b.c.d.e", "metrics.a.b.c.d.f", "metrics.g.b.c.d.e"}, []string{"orders.a.b.c.d.e", "orders.a.b.c.d.f", "orders.g.b.c.d.e"}
	for _, topic := range append(values, events...) {
		c.publish(topic, `0`)
	}
	stop := c.torrent(append(values, events...)...)
	defer stop()
	const joins, messages = 40, 60
	for i := range joins {
		p := pattern(i)
		client := n.dial()
		acks := client.subscribe("metrics."+p, "orders."+p)
		reached := max(acks[0].Seq, acks[1].Seq)
		last := map[string]uint64{}
		for range messages {
			m := client.next()
			before, known := last[m.Topic]
			switch {
			case !known && strings.HasPrefix(m.Topic, "orders"): // live from the ack's place on
				if m.Seq <= acks[1].Seq || m.Prev > acks[1].Seq {
					t.Fatalf("%s was acked at %d, but begins with %s", p, acks[1].Seq, m.text)
				}
			case !known:
				if m.Seq > reached && m.Prev != 0 {
					t.Fatalf("%s was acked at %d, but its snapshot begins with %s", p, acks[0].Seq, m.text)
				}
			case m.Prev != before:
				t.Fatalf("%s: after %d came %s", p, before, m.text)
			}
			last[m.Topic] = m.Seq
		}
		client.conn.CloseNow()
	}
	if got := n.value("tidings_edge_gaps_total"); got != 0 {
		t.Errorf("%v gaps were told", got)
	}
}

// pattern is the i-th of the patterns that match the topics of the test above, among others.
func pattern(i int) string {
	tokens := strings.Split("a.b.c.d.e", ".")
	for j := range tokens {
		if i>>j&1 != 0 {
			tokens[j] = "*"
		}
	}
	if i >= 32 {
		tokens = append(tokens[:1+i%4], ">")
	}
	return strings.Join(tokens, ".")
}

// A position that was acked is one from which nothing is missing.
func TestAckedPosition_CanBeResumedFrom(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	unlimited := func(cfg *edge.Config) { cfg.Limits.Replay = 1_000_000 } // the torrent may be far ahead of this client
	one, other := c.edge(unlimited), c.edge(unlimited)
	events := []string{"orders.a.b.c.d.e", "orders.a.b.c.d.f"}
	for _, topic := range events {
		c.publish(topic, `0`)
	}
	keeper := one.dial() // has the edge know the topics already
	keeper.subscribe("orders.a.b.>")
	stop := c.torrent(events...)
	defer stop()
	for i := range 20 {
		leaver := one.dial()
		ack := leaver.subscribe("orders." + pattern(i+1))
		leaver.conn.CloseNow()
		for _, n := range []*node{one, other} {
			client := n.dial()
			again := client.subscribe(fmt.Sprintf(`{"topic":"%s","since":{"epoch":"%s","seq":%d}}`, ack[0].Topic, ack[0].Epoch, ack[0].Seq))
			if again[0].Recovered == nil || !*again[0].Recovered {
				t.Fatalf("resuming at %+v was acked with %+v", ack, again)
			}
			last, seen := ack[0].Seq, map[string]uint64{}
			for range 10 {
				m := client.next()
				if m.Seq <= last || m.Prev > max(seen[m.Topic], ack[0].Seq) {
					t.Fatalf("resumed at %d, had %d, then came %s", ack[0].Seq, seen[m.Topic], m.text)
				}
				last, seen[m.Topic] = m.Seq, m.Seq
			}
			client.conn.CloseNow()
		}
	}
}

func TestPublishedMessages_ArriveOnceInOrder(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	nodes := []*node{c.edge(), c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })}
	var clients []*client
	for i := range 6 {
		client := nodes[i%2].dial()
		client.subscribe([][]string{{">"}, {"orders.*", "metrics.*"}, {"*.a", "*.b", "orders.c"}}[i%3]...)
		clients = append(clients, client)
	}
	const many = 1500
	done := make(chan []uint64)
	for _, topic := range []string{"orders.a", "orders.b", "orders.c", "metrics.a"} {
		go func() {
			line, err := nats.Connect(c.nats.URL())
			if err != nil {
				t.Error(err)
				done <- nil
				return
			}
			defer line.Close()
			js, _ := line.JetStream(nats.PublishAsyncMaxPending(64))
			var futures []nats.PubAckFuture
			for i := range many {
				f, err := js.PublishAsync("tidings.pub."+topic, fmt.Appendf(nil, `{"n":%d}`, i), nats.StallWait(patience))
				if err != nil {
					t.Error(err)
				}
				futures = append(futures, f)
			}
			<-js.PublishAsyncComplete()
			var seqs []uint64
			for _, f := range futures {
				seqs = append(seqs, (<-f.Ok()).Sequence)
			}
			done <- seqs
		}()
	}
	total := 0
	for range 4 {
		total += len(<-done)
	}
	if total != 4*many {
		t.Fatalf("%d messages were published", total)
	}
	for i, client := range clients {
		last, over := map[string]uint64{}, uint64(0)
		for n := map[string]int{}; n["orders.a"]+n["orders.b"]+n["orders.c"] < 3*many; {
			m := client.next()
			if m.Topic == "metrics.a" { // a latest topic: values may be skipped, and never go back
				if m.Seq <= last[m.Topic] {
					t.Fatalf("client %d: after %d came %s", i, last[m.Topic], m.text)
				}
				last[m.Topic] = m.Seq
				continue
			}
			onePattern := i%3 != 2 // only within one is an order over topics promised
			if m.Prev != last[m.Topic] || onePattern && m.Seq <= over {
				t.Fatalf("client %d: after %d, and %d of this topic, came %s", i, over, last[m.Topic], m.text)
			}
			if want := fmt.Sprintf(`{"n":%d}`, n[m.Topic]); string(m.Payload) != want {
				t.Fatalf("client %d: got %s, want payload %s", i, m.text, want)
			}
			n[m.Topic]++
			last[m.Topic], over = m.Seq, m.Seq
		}
		for len(client.messages) > 0 {
			if m := client.next(); m.Topic != "metrics.a" {
				t.Fatalf("client %d: more came: %s", i, m.text)
			}
		}
	}
}

func TestSecondEdge_DeliversTheSame(t *testing.T) {
	c := newCluster(t)
	one, other := c.edge().dial(), c.edge().dial()
	one.subscribe("orders.*")
	other.subscribe("orders.a")
	for i := range 100 {
		want := at("orders.a", c.publish("orders.a", fmt.Sprint(i)))
		one.data(want)
		other.data(want)
	}
}

func TestMoreThan1024Topics_AreAllBrought(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes thousands of messages")
	}
	c := newCluster(t)
	const many = 1500
	line := c.line()
	js, err := line.JetStream(nats.PublishAsyncMaxPending(256))
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if _, err := js.PublishAsync(fmt.Sprintf("tidings.pub.metrics.h%d", i), []byte(`1`), nats.StallWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	n := c.edge()
	for range 2 {
		client := n.dial()
		client.subscribe("metrics.*")
		seen := map[string]bool{}
		for range many {
			seen[client.next().Topic] = true
		}
		if len(seen) != many {
			t.Errorf("%d topics came", len(seen))
		}
		client.quiet()
	}
}

// Many clients that come and go while messages flow leave nothing behind.
func TestClientsThatComeAndGo_LeaveNothing(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Linger = 10 * time.Millisecond })
	stop := c.torrent("orders.a", "orders.b", "metrics.a")
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 15 {
				client := n.dial()
				topics := []string{"orders.*", "orders.a", ">", "metrics.>", "*.a"}
				r.Shuffle(len(topics), func(i, j int) { topics[i], topics[j] = topics[j], topics[i] })
				for i, topic := range topics[:1+r.IntN(4)] {
					client.say(`{"type":"subscribe","id":%d,"topics":["%s"]}`, i+1, topic)
				}
				for range r.IntN(50) {
					client.next()
				}
				client.say(`{"type":"unsubscribe","id":9,"topics":["%s"]}`, topics[0])
				client.conn.CloseNow()
			}
		}()
	}
	for range 4 {
		<-done
	}
	stop()
	eventually(t, "all are gone", func() bool {
		return n.value("tidings_edge_connections") == 0 && n.value("tidings_edge_subscriptions") == 0 && n.value("tidings_edge_lagging_connections") == 0
	})
	eventually(t, "nothing is subscribed at NATS", func() bool { return len(n.atNATS()) == 0 })
	if got := n.value("tidings_edge_gaps_total"); got != 0 {
		t.Errorf("%v gaps were told", got)
	}
}
