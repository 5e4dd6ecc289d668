package edge_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/wire"
)

// since writes a topic that is to be resumed.
func since(topic, epoch string, seq uint64) string {
	return fmt.Sprintf(`{"topic":"%s","since":{"epoch":"%s","seq":%d}}`, topic, epoch, seq)
}

// resume subscribes with positions and expects each to be recovered, or not.
func (c *client) resume(recovered bool, topics ...string) []wire.AckTopic {
	c.t.Helper()
	acks := c.subscribe(topics...)
	for _, a := range acks {
		if a.Recovered == nil || *a.Recovered != recovered {
			c.t.Fatalf("acked with %+v (recovered %v), want recovered %v", a, a.Recovered, recovered)
		}
	}
	return acks
}

func TestResume_AckSaysHowItWent(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	c.publish("orders.a", `1`)
	client := n.dial()
	client.say(`{"type":"subscribe","id":1,"topics":[%s,"metrics.a"]}`, since("orders.*", c.epoch(), 1))
	client.expect(fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[`+
		`{"topic":"orders.*","epoch":"%[1]s","seq":1,"recovered":true},{"topic":"metrics.a","epoch":"%[1]s","seq":1}]}}`, c.epoch()))
	client = n.dial()
	client.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", "elsewhere", 1))
	client.expect(fmt.Sprintf(`{"type":"ack","id":1,"timestamp":T,"payload":{"topics":[{"topic":"orders.*","epoch":"%s","seq":1,"recovered":false}]}}`, c.epoch()),
		`{"type":"gap","topic":"orders.a","timestamp":T,"payload":{"after":0,"before":2,"reason":"epoch"}}`)
}

func TestResume_BringsAllThatWasMissed(t *testing.T) {
	c := newCluster(t)
	keeper := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	keeper.dial().subscribe("orders.*", "metrics.*") // so that this edge has what is recent in memory
	first := c.publish("orders.a", `0`)
	value := c.publish("metrics.a", `0`)
	var missed []string
	for i := range 20 {
		c.publish("metrics.b", fmt.Sprint(i))
		missed = append(missed, at("orders.a", c.publish("orders.a", fmt.Sprint(i))), at("orders.b", c.publish("orders.b", fmt.Sprint(i))))
	}
	newest := c.publish("metrics.b", `"newest"`)
	c.hears(keeper, 63)
	for name, n := range map[string]*node{"from memory": keeper, "from the stream": c.edge()} {
		t.Run(name, func(t *testing.T) {
			replays := n.value("tidings_edge_replays_total", "cause", "resume")
			client := n.dial()
			client.t = t
			acks := client.resume(true, since("orders.*", c.epoch(), first), since("metrics.*", c.epoch(), value))
			if acks[0].Seq < newest-1 || acks[1].Seq != newest {
				t.Errorf("acked with %+v, want to have reached %d", acks, newest)
			}
			client.data(missed...)
			client.data(at("metrics.b", newest)) // metrics.a is no newer than the position
			client.quiet()
			if name == "from memory" && n.value("tidings_edge_replays_total", "cause", "resume") != replays {
				t.Error("the stream was read")
			}
		})
	}
	// Order over both patterns is not promised; that what follows is live, is.
	live := keeper.dial()
	live.resume(true, since("orders.*", c.epoch(), newest))
	live.quiet()
	live.data(at("orders.b", c.publish("orders.b", `1`)))
}

// What one edge delivered, another one goes on from.
func TestResume_OnAnotherEdge_MissesNothing(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	unlimited := func(cfg *edge.Config) { cfg.Limits.Replay = 1_000_000 } // the torrent is faster than this client
	nodes := []*node{c.edge(unlimited), c.edge(unlimited)}
	stop := c.torrent("orders.a", "orders.b", "orders.c")
	defer stop()
	client := nodes[0].dial()
	position, epoch := client.subscribe("orders.*")[0].Seq, c.epoch()
	last := map[string]uint64{}
	start := position
	for turn := range 12 {
		for range 40 {
			m := client.next()
			if m.Type == "gap" {
				t.Fatalf("got %s", m.text)
			}
			if m.Seq <= position || m.Prev > max(last[m.Topic], start) {
				t.Fatalf("turn %d: at %d, and %d of this topic, came %s", turn, position, last[m.Topic], m.text)
			}
			position, last[m.Topic] = m.Seq, m.Seq
		}
		client.conn.CloseNow()
		client = nodes[(turn+1)%2].dial()
		client.resume(true, since("orders.*", epoch, position))
	}
}

// limited is a stream that keeps few messages of each topic.
func limited(most int) func(*bus.Config) {
	return func(cfg *bus.Config) { cfg.Stream.MaxPerTopic = most }
}

func TestResume_OfWhatExpired_IsToldAsAGap(t *testing.T) {
	c := newCluster(t, limited(5))
	for name, warm := range map[string]bool{"from the stream": false, "by an edge that had them": true} {
		t.Run(name, func(t *testing.T) {
			n := c.edge(func(cfg *edge.Config) { cfg.Loops, cfg.Limits.Recent = 1, 4 })
			if warm {
				n.dial().subscribe("orders.*", "metrics.*")
			}
			c.publish("orders.quiet", `0`)
			position := c.publish("orders.busy", `0`)
			value := c.publish("metrics.a", `"newest"`)
			for i := range 20 {
				c.publish("orders.busy", fmt.Sprint(i))
			}
			if warm {
				c.hears(n, 23)
			}
			client := n.dial()
			client.t = t
			acks := client.subscribe(since("orders.*", c.epoch(), position), since("metrics.*", c.epoch(), 0))
			if acks[0].Recovered == nil || *acks[0].Recovered || acks[1].Recovered == nil || !*acks[1].Recovered {
				t.Fatalf("acked with %+v", acks)
			}
			var gaps []string
			for range 2 {
				switch m := client.next(); {
				case m.Type == "gap":
					p := payload[wire.GapPayload](t, m)
					gaps = append(gaps, fmt.Sprintf("%s after %d %s", m.Topic, p.After, p.Reason))
					if p.Before <= p.After || p.Before > acks[0].Seq+1 {
						t.Errorf("got %s", m.text)
					}
				case m.Topic != "metrics.a" || m.Seq != value:
					t.Errorf("got %s", m.text)
				}
			}
			if want := []string{fmt.Sprintf("orders.busy after %d expired", position)}; !slices.Equal(gaps, want) {
				t.Errorf("gaps %v, want %v", gaps, want)
			}
			client.quiet()
			client.data(at("orders.busy", c.publish("orders.busy", `1`)))
		})
	}
}

func TestResume_OfATopicThatLostNothing_IsRecoveredThoughAnotherDid(t *testing.T) {
	c := newCluster(t, limited(5))
	n := c.edge()
	position := c.publish("orders.quiet", `0`)
	missed := c.publish("orders.quiet", `1`)
	for i := range 20 {
		c.publish("orders.busy", fmt.Sprint(i))
	}
	client := n.dial()
	client.resume(true, since("orders.quiet", c.epoch(), position))
	client.data(at("orders.quiet", missed))
	client.quiet()
}

func TestResume_OfLatestTopics_NeedsNoHistory(t *testing.T) {
	c := newCluster(t, limited(1))
	n := c.edge()
	c.publish("metrics.b", `0`)
	position := c.publish("metrics.a", `0`)
	var newest uint64
	for i := range 20 {
		newest = c.publish("metrics.a", fmt.Sprint(i))
	}
	client := n.dial()
	client.resume(true, since("metrics.*", c.epoch(), position))
	client.data(at("metrics.a", newest))
	client.quiet()
}

func TestResume_FromAnotherEpoch_IsToldAsSuch(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	c.publish("orders.a", `0`)
	value := c.publish("metrics.a", `0`)
	client := n.dial()
	acks := client.resume(false, since("*.a", "1a2b3c", 1))
	if acks[0].Epoch != c.epoch() || acks[0].Seq != value {
		t.Errorf("acked with %+v", acks)
	}
	var kinds []string
	for range 2 {
		m := client.next()
		kinds = append(kinds, m.Type)
		if m.Type == "gap" && (m.Topic != "orders.a" || payload[wire.GapPayload](t, m).Reason != wire.GapEpoch) {
			t.Errorf("got %s", m.text)
		}
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"gap", "metrics"}) {
		t.Errorf("got %v", kinds)
	}
	client.quiet()
}

func TestResume_OfMoreThanTheLimit_IsNotPretended(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Limits.Replay = 50 })
	position := c.publish("orders.a", `0`)
	c.publish("orders.b", `0`)
	c.burst("orders.a", 1, 100)
	client := n.dial()
	acks := client.resume(false, since("orders.*", c.epoch(), position))
	topics := map[string]bool{}
	for range 2 {
		m := client.next()
		if m.Type != "gap" || payload[wire.GapPayload](t, m).After < position {
			t.Fatalf("got %s", m.text)
		}
		topics[m.Topic] = true
	}
	if !topics["orders.a"] {
		t.Errorf("gaps of %v after the ack %+v", topics, acks)
	}
	client.quiet()
	client.data(at("orders.a", c.publish("orders.a", `1`)))
}

// Clients of an edge that ended come back within seconds, from places near each other: one read serves all of them, and brings each
// what came after its own.
func TestManyWhoResumeNearEachOther_ShareOneRead(t *testing.T) {
	c := newCluster(t)
	n := c.edge(func(cfg *edge.Config) { cfg.Loops = 1 })
	n.dial().subscribe("orders.*")
	position := c.publish("orders.a", `0`)
	const missed, many = 600, 60
	c.burst("orders.a", 1, missed) // more than an edge keeps in memory
	c.hears(n, missed+1)
	before := n.value("tidings_edge_replays_total", "cause", "resume")
	for i := range many {
		client := n.dial() // one after the other
		client.resume(true, since("orders.*", c.epoch(), position+uint64(i)))
		for want := i + 1; want <= missed; want++ {
			if m := client.next(); string(m.Payload) != fmt.Sprintf(`{"n":%d}`, want) {
				t.Fatalf("client %d got %s, want number %d", i, m.text, want)
			}
		}
		client.quiet()
		client.conn.CloseNow()
	}
	if got := n.value("tidings_edge_replays_total", "cause", "resume") - before; got < 1 || got > 3 { // they may take longer than one is kept
		t.Errorf("%v reads for %d clients", got, many)
	}
}

// Nor do those who come all at once, in any order, while there is traffic.
func TestManyWhoResumeAtOnce_ShareFewReads(t *testing.T) {
	c := newCluster(t, limited(1_000_000))
	n := c.edge(func(cfg *edge.Config) { cfg.Loops, cfg.Limits.Replay = 1, 1_000_000 })
	n.dial().subscribe("orders.*")
	position := c.publish("orders.a", `0`)
	const missed, many = 2000, 60
	c.burst("orders.a", 1, missed)
	stop := c.flow(2, "", "orders.b")
	defer stop()
	clients := make([]*client, many)
	for i := range clients {
		clients[i] = n.dial()
	}
	before := n.value("tidings_edge_replays_total", "cause", "resume")
	for i, client := range clients {
		client.say(`{"type":"subscribe","id":1,"topics":[%s]}`, since("orders.*", c.epoch(), position+uint64((i*37)%many)))
	}
	for _, client := range clients {
		if a := client.acked(1); a[0].Recovered == nil || !*a[0].Recovered {
			t.Fatalf("acked with %+v", a)
		}
	}
	for i, client := range clients {
		last := uint64(0) // of orders.b, which began after all this
		for want := (i*37)%many + 1; want <= missed; {
			m := client.next()
			switch {
			case m.Topic == "orders.a" && string(m.Payload) == fmt.Sprintf(`{"n":%d}`, want):
				want++
			case m.Topic == "orders.b" && m.Prev == last:
				last = m.Seq
			default:
				t.Fatalf("client %d got %s, want number %d", i, m.text, want)
			}
		}
	}
	if reads := n.value("tidings_edge_replays_total", "cause", "resume") - before; reads < 1 || reads > 10 {
		t.Errorf("%v reads for %d clients", reads, many)
	}
}

// A stream that was deleted and made anew counts from 1 again: nobody must take that for old news.
func TestStreamMadeAnew_IsToldAndGoesOn(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*", "metrics.*")
	for i := range 10 {
		client.data(at("orders.a", c.publish("orders.a", fmt.Sprint(i))), at("metrics.a", c.publish("metrics.a", fmt.Sprint(i))))
	}
	was := c.epoch()
	js, err := c.line().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream("TIDINGS"); err != nil {
		t.Fatal(err)
	}
	if err := c.bus.EnsureStream(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.epoch() == was {
		t.Fatal("the epoch is the same")
	}
	c.publish("orders.a", `"anew"`)
	gap, data := false, false
	for !data {
		switch m := client.next(); {
		case m.Type == "gap" && payload[wire.GapPayload](t, m).Reason == wire.GapEpoch:
			gap = true
		case m.IsData() && string(m.Payload) == `"anew"`:
			data = true
		case m.IsData() && m.Gone:
		default:
			t.Errorf("got %s", m.text)
		}
	}
	if !gap {
		t.Error("no gap told that positions are void")
	}
	value := c.publish("metrics.a", `"anew"`)
	for m := client.next(); m.Topic != "metrics.a" || m.Seq != value; m = client.next() {
		if !m.Gone {
			t.Errorf("got %s", m.text)
		}
	}
	// Whoever comes now is told the new epoch, and gets nothing of the old.
	late := n.dial()
	if got := payload[wire.ConnectedPayload](t, late.greeting).Epoch; got != c.epoch() {
		t.Errorf("connected with epoch %s, want %s", got, c.epoch())
	}
	if acks := late.resume(false, since("orders.*", was, 15)); acks[0].Epoch != c.epoch() {
		t.Errorf("acked with %+v", acks)
	}
}

// Messages that NATS did not bring are fetched from the stream before what follows them.
func TestHoleFromNATS_IsFilled(t *testing.T) {
	c := newCluster(t)
	n := c.edge()
	client := n.dial()
	client.subscribe("orders.*", "metrics.*")
	client.data(at("orders.a", c.publish("orders.a", `0`)))
	for round := range 3 {
		hear := c.deaf()
		var want []string
		for i := range 20 {
			want = append(want, at("orders.a", c.publish("orders.a", fmt.Sprint(i))))
		}
		hear()
		want = append(want, at("orders.a", c.publish("orders.a", `"after the hole"`)), at("orders.b", c.publish("orders.b", `1`)))
		client.data(want...)
		client.data(at("metrics.a", c.publish("metrics.a", `1`)))
		if got := n.value("tidings_edge_repairs_total"); got != float64(round+1) {
			t.Errorf("%v repairs", got)
		}
	}
	client.quiet()
	if got := n.value("tidings_edge_gaps_total"); got != 0 {
		t.Errorf("%v gaps were told", got)
	}
}
