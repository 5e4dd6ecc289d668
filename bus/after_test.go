package bus_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidings/bus"
	"tidings/bus/bustest"
)

func seqs(messages []bus.Message) []uint64 {
	s := []uint64{}
	for _, m := range messages {
		s = append(s, m.Seq)
	}
	return s
}

func TestAfter_AllThatFollowedInOrderAndComplete(t *testing.T) {
	c := bustest.New(t).Connect(t)
	a1 := publish(t, c, "alerts.a", 1)
	after := publish(t, c, "alerts.b", 2)
	a2 := publish(t, c, "alerts.a", 3)
	publish(t, c, "other", 4)
	n1 := publish(t, c, "alerts.new", 5)
	a3 := publish(t, c, "alerts.a", 6)
	end := publish(t, c, "other", 7)

	r, err := c.After(t.Context(), after, 0, "alerts.*", "alerts.a", "*.new") // they overlap: each message comes once
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seqs(r.Messages), []uint64{a2, n1, a3}) || !r.Complete || r.More || len(r.Lost) != 0 {
		t.Fatalf("got %+v", r)
	}
	for i, prev := range []uint64{a1, 0, a2} {
		if r.Messages[i].Prev != prev {
			t.Errorf("%v: the one before was #%d", r.Messages[i], prev)
		}
	}
	if r.Position != (bus.Position{Epoch: c.State().Epoch, Seq: end}) {
		t.Errorf("position is %+v", r.Position)
	}
	if r, err = c.After(t.Context(), end, 0, ">"); err != nil || !r.Complete || len(r.Messages) != 0 || r.Position.Seq != end {
		t.Errorf("after the end: %+v, %v", r, err)
	}
}

func TestAfter_BeyondTheEnd(t *testing.T) {
	c := bustest.New(t).Connect(t)
	end := publish(t, c, "alerts.a", 1)
	r, err := c.After(t.Context(), end+1, 0, ">")
	if err != nil || r.Complete || r.More || len(r.Messages) != 0 || len(r.Lost) != 0 || r.Position.Seq != end {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestAfter_LimitCutsAndGoesOn(t *testing.T) {
	c := bustest.New(t).Connect(t)
	var want []uint64
	prev := map[bus.Topic]uint64{}
	first := publish(t, c, "x.before", 0)
	for i := range 50 {
		want = append(want, publish(t, c, fmt.Sprintf("%c.%d", 'a'+i%2, i%3), i))
	}
	var got []uint64
	at := first
	for more := true; more; {
		r, err := c.After(t.Context(), at, 7, "a.*", "b.*", "*.1")
		if err != nil || !r.Complete || len(r.Messages) > 7 {
			t.Fatalf("got %+v, %v", r, err)
		}
		for _, m := range r.Messages {
			if m.Prev != prev[m.Topic] {
				t.Errorf("%v: the one before was #%d", m, prev[m.Topic])
			}
			prev[m.Topic] = m.Seq
		}
		got = append(got, seqs(r.Messages)...)
		at, more = r.Position.Seq, r.More
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A limit counts messages, which may be large: what is read at a time can be bounded by their bytes too, whichever way it is read.
func TestAfterWithin_IsCutByBytesToo(t *testing.T) {
	c := bustest.New(t).Connect(t)
	payload := []byte(`"` + strings.Repeat("x", 512<<10) + `"`)
	const topics, messages = 5, 60
	var want []uint64
	for i := range messages {
		seq, err := c.Publish(t.Context(), bus.Topic(fmt.Sprintf("a.%d", i%topics)), payload, bus.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, seq)
	}
	var few, many []bus.Pattern
	for i := range 200 {
		many = append(many, bus.Pattern(fmt.Sprintf("a.%d", i)))
	}
	few = many[:100]
	for name, patterns := range map[string][]bus.Pattern{"a pattern": {"a.*"}, "a hundred topics": few, "two hundred topics": many} {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			for at, more, reads := uint64(0), true, 0; more; reads++ {
				r, err := c.AfterWithin(t.Context(), at, 1000, 8<<20, patterns...)
				if err != nil || reads > messages {
					t.Fatalf("read %d: %v", reads, err)
				}
				if n := len(r.Messages); n*len(payload) > 13<<20 {
					t.Errorf("%d messages came at a time, of %d KiB each", n, len(payload)>>10)
				}
				got = append(got, seqs(r.Messages)...)
				at, more = r.Position.Seq, r.More
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if r, err := c.After(t.Context(), 0, 1000, patterns...); err != nil || r.More || !slices.Equal(seqs(r.Messages), want) {
				t.Errorf("of any size: %d messages, %v, %v", len(r.Messages), r.More, err)
			}
		})
	}
}

func TestAfter_EvictedByTheTopicsLimitIsLost(t *testing.T) {
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Stream.MaxPerTopic = 5 })
	publish(t, c, "metrics.x", 0)
	publish(t, c, "alerts.quiet", 0)
	after := publish(t, c, "alerts.busy", 0)
	publish(t, c, "alerts.quiet", 1)
	var busy, metrics []uint64
	for i := range 8 {
		busy = append(busy, publish(t, c, "alerts.busy", i))
		metrics = append(metrics, publish(t, c, "metrics.x", i))
	}
	r, err := c.After(t.Context(), after, 0, ">")
	if err != nil {
		t.Fatal(err)
	}
	// metrics.x has lost as much, but only its newest message matters.
	want := []bus.Loss{{Topic: "alerts.busy", After: after, Before: busy[3]}}
	if r.Complete || !slices.Equal(r.Lost, want) {
		t.Errorf("complete %v, lost %v, want %v", r.Complete, r.Lost, want)
	}
	if len(r.Messages) != 1+5+5 {
		t.Errorf("got %v", r.Messages)
	}
	// From where one message is still retained, nothing is missing, although the topic is at its limit.
	if r, err = c.After(t.Context(), busy[3], 0, "alerts.*"); err != nil || !r.Complete || !slices.Equal(seqs(r.Messages), busy[4:]) || r.Messages[0].Prev != busy[3] {
		t.Errorf("got %+v, %v", r, err)
	}
	// One before, it cannot be proven; nor is it true.
	if r, err = c.After(t.Context(), busy[2], 0, "alerts.*"); err != nil || r.Complete || r.Messages[0].Prev != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err = c.After(t.Context(), after, 0, "metrics.*"); err != nil || !r.Complete || !slices.Equal(seqs(r.Messages), metrics[3:]) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Many who come back to nearby places share one read: what it says of each has to be what a read of its own would have said.
func TestReplay_FromALaterPlaceReadsAsIfAskedThere(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*bus.StreamConfig){
		"topics' limit":  func(cfg *bus.StreamConfig) { cfg.MaxPerTopic = 3 },
		"stream's limit": func(cfg *bus.StreamConfig) { cfg.MaxBytes = 2000 },
		"both":           func(cfg *bus.StreamConfig) { cfg.MaxPerTopic, cfg.MaxBytes = 5, 2500 },
	} {
		t.Run(name, func(t *testing.T) {
			c := bustest.New(t).Connect(t, func(cfg *bus.Config) { limit(&cfg.Stream) })
			topics := []string{"alerts.busy", "alerts.busy", "alerts.b", "metrics.x", "alerts.busy", "alerts.quiet"}
			var end uint64
			for i := range 40 {
				topic := topics[i%len(topics)]
				if i > 10 && topic == "alerts.quiet" {
					topic = "alerts.late"
				}
				end = publish(t, c, topic, i)
			}
			for _, patterns := range [][]bus.Pattern{{"alerts.*"}, {">"}, {"alerts.quiet"}, {"alerts.none", "alerts.b"}, {"metrics.*"}} {
				for after := uint64(1); after <= end; after++ {
					shared, err := c.After(t.Context(), after, 0, patterns...)
					if err != nil {
						t.Fatal(err)
					}
					for later := after; later <= end; later++ {
						own, err := c.After(t.Context(), later, 0, patterns...)
						if err != nil {
							t.Fatal(err)
						}
						got, ok := shared.From(later)
						if !ok || got.Complete != own.Complete || got.Position != own.Position || !slices.Equal(seqs(got.Messages), seqs(own.Messages)) ||
							!slices.Equal(got.Lost, own.Lost) {
							t.Fatalf("%v after %d, from a read after %d: %v, complete %v, lost %v, messages %v\nread there: complete %v, lost %v, messages %v",
								patterns, later, after, ok, got.Complete, got.Lost, seqs(got.Messages), own.Complete, own.Lost, seqs(own.Messages))
						}
					}
					after += 6 // places of all kinds, in a second
				}
			}
			if _, ok := must(c.After(t.Context(), 20, 0, "alerts.*")).From(19); ok {
				t.Error("it tells of a place before it")
			}
			if _, ok := must(c.After(t.Context(), 20, 1, ">")).From(21); ok {
				t.Error("it tells of what was cut off")
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAfter_ExpiredIsLost(t *testing.T) {
	t.Parallel()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Stream.MaxAge = time.Second })
	publish(t, c, "alerts.a", 0)
	after := publish(t, c, "alerts.b", 0)
	publish(t, c, "alerts.a", 1)
	gone := publish(t, c, "alerts.vanished", 1)
	eventually(t, "all expired, markers too", func() bool {
		s, err := c.StreamState(t.Context())
		return err == nil && s.FirstSeq > gone && s.Messages == 0
	})
	fresh := publish(t, c, "alerts.a", 2)
	r, err := c.After(t.Context(), after, 0, "alerts.*", "alerts.vanished", "metrics.*")
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete {
		t.Error("it pretends")
	}
	if i := slices.IndexFunc(r.Messages, func(m bus.Message) bool { return !m.Gone }); i < 0 || r.Messages[i].Seq != fresh {
		t.Errorf("got %v, want #%d", r.Messages, fresh)
	}
	for _, name := range []bus.Topic{"alerts.a", "alerts.vanished"} {
		if !slices.ContainsFunc(r.Lost, func(l bus.Loss) bool { return l.Topic == name && l.After == after && l.Before > after+1 }) {
			t.Errorf("lost %v, want %s to be among them", r.Lost, name)
		}
	}
	if r, err = c.After(t.Context(), after, 0, "metrics.*"); err != nil || !r.Complete {
		t.Errorf("a pattern of latest topics: %+v, %v", r, err)
	}
}

func TestAfter_CutBeforeALossStillTellsIt(t *testing.T) {
	t.Parallel()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Stream.MaxAge = time.Second })
	publish(t, c, "alerts.late", 0)
	after := publish(t, c, "alerts.a", 0)
	publish(t, c, "alerts.late", 1)
	eventually(t, "all expired", func() bool {
		s, err := c.StreamState(t.Context())
		return err == nil && s.FirstSeq > after+1
	})
	for i := range 3 {
		publish(t, c, "alerts.a", i)
	}
	publish(t, c, "alerts.late", 2)
	r, err := c.After(t.Context(), after, 2, "alerts.*")
	if err != nil || !r.More || r.Complete {
		t.Fatalf("got %+v, %v", r, err)
	}
	if !slices.ContainsFunc(r.Lost, func(l bus.Loss) bool { return l.Topic == "alerts.late" }) {
		t.Errorf("lost %v: the first page has to tell it, no later one can", r.Lost)
	}
}

func TestReads_StepOverInvalidMessages(t *testing.T) {
	server := bustest.New(t)
	c, stranger := server.Connect(t), dial(t, server)
	raw := func(data string) { send(t, stranger, &nats.Msg{Subject: "tidings.pub.alerts.a", Data: []byte(data)}) }
	first := publish(t, c, "alerts.a", 1)
	raw("not JSON")
	raw("\xff")
	send(t, stranger, &nats.Msg{Subject: "tidings.pub.bad$topic", Data: []byte(`1`)})
	second := publish(t, c, "alerts.a", 2)
	raw("}")

	s, err := c.Last(t.Context(), ">")
	if err != nil || !slices.Equal(seqs(s.Messages), []uint64{second}) || s.Messages[0].Prev != first {
		t.Errorf("Last: %+v, %v, want #%d after #%d", s, err, second, first)
	}
	if s, err = c.LastN(t.Context(), "alerts.*", 5); err != nil || !slices.Equal(seqs(s.Messages), []uint64{first, second}) || s.Messages[1].Prev != first {
		t.Errorf("LastN: %+v, %v", s, err)
	}
	for after := range second {
		r, err := c.After(t.Context(), after, 0, ">")
		if err != nil || !r.Complete || r.Messages[len(r.Messages)-1].Seq != second || after > 0 && r.Messages[0].Prev != first {
			t.Errorf("After %d: %+v, %v", after, r, err)
		}
	}
}

// Each read is held against what was seen live: the same places, the same predecessors.
func TestReads_AgreeWithWhatWasLive(t *testing.T) {
	for _, storage := range []string{"file", "memory"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.Stream.Storage, cfg.Stream.MaxPerTopic = storage, 40 })
			l := listen(t, c, ">")
			random := rand.New(rand.NewPCG(1, 2))
			live := map[bus.Topic][]bus.Message{}
			for n := range 600 {
				publish(t, c, fmt.Sprintf("%s.%d", []string{"alerts", "metrics"}[n%2], int(random.ExpFloat64()*4)), n)
				m := receive(t, c, l)
				live[m.Topic] = append(live[m.Topic], m)
			}
			for topic, all := range live { // as the stream now has it: the oldest are evicted
				if n := len(all); n > 40 {
					live[topic] = all[n-40:]
					live[topic][0].Prev = 0
				}
			}
			compare := func(what string, got []bus.Message, keep func(all []bus.Message) []bus.Message) {
				t.Helper()
				var want []bus.Message
				for _, all := range live {
					want = append(want, keep(all)...)
				}
				slices.SortFunc(want, func(a, b bus.Message) int { return int(a.Seq) - int(b.Seq) })
				if len(got) != len(want) {
					t.Fatalf("%s: got %d messages, want %d", what, len(got), len(want))
				}
				for i := range got {
					if got[i].Topic != want[i].Topic || got[i].Seq != want[i].Seq || got[i].Prev != want[i].Prev ||
						string(got[i].Payload) != string(want[i].Payload) || !got[i].Time.Equal(want[i].Time) {
						t.Errorf("%s: got %v, want %v", what, got[i], want[i])
					}
				}
			}
			s, err := c.Last(t.Context(), ">")
			if err != nil {
				t.Fatal(err)
			}
			compare("Last", s.Messages, func(all []bus.Message) []bus.Message { return all[len(all)-1:] })
			for _, n := range []int{1, 2, 7, 39, 40, 41, 1000} {
				if s, err = c.LastN(t.Context(), ">", n); err != nil {
					t.Fatal(err)
				}
				compare(fmt.Sprint("LastN ", n), s.Messages, func(all []bus.Message) []bus.Message { return all[max(0, len(all)-n):] })
			}
			for _, after := range []uint64{0, 1, 100, 300, 550, 599, 600} {
				r, err := c.After(t.Context(), after, 0, ">")
				if err != nil {
					t.Fatal(err)
				}
				compare(fmt.Sprint("After ", after), r.Messages, func(all []bus.Message) []bus.Message {
					i := slices.IndexFunc(all, func(m bus.Message) bool { return m.Seq > after })
					if i < 0 {
						return nil
					}
					return all[i:]
				})
			}
		})
	}
}

// An edge follows as many single topics as its clients look at. What it missed of them is read part by part, whatever their share in it,
// with each part in about as many messages as it has, and few requests where a request for each topic would be many.
func TestAfter_OfManyTopics_IsReadInParts(t *testing.T) {
	const missed, limit = 3000, 200
	for _, topics := range []int{3, 100, 600} {
		t.Run(fmt.Sprint(topics), func(t *testing.T) {
			server := bustest.New(t)
			c := server.Connect(t, func(cfg *bus.Config) { cfg.Stream.MaxPerTopic = missed })
			patterns := make([]bus.Pattern, topics)
			for i := range patterns {
				patterns[i] = pattern(t, fmt.Sprintf("alerts.%d", i))
			}
			random := rand.New(rand.NewPCG(uint64(topics), 1))
			after := publish(t, c, "other", 0)
			var want []uint64
			js, err := operator(t, server).Conn().JetStream()
			if err != nil {
				t.Fatal(err)
			}
			for i := range missed {
				topic := 0 // which has half of all
				if i%2 == 1 {
					topic = random.IntN(topics * 5 / 4) // and some go to nobody
				}
				if _, err := js.PublishAsync(fmt.Sprintf("tidings.pub.alerts.%d", topic), []byte(`{"n":1}`)); err != nil {
					t.Fatal(err)
				}
				if topic < topics {
					want = append(want, after+uint64(i)+1)
				}
			}
			<-js.PublishAsyncComplete()
			asked := requests(t, server)
			var got []uint64
			parts := 1
			for ; ; parts++ {
				r, err := c.After(t.Context(), after, limit, patterns...)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, seqs(r.Messages)...)
				if after = r.Position.Seq; !r.More {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %d messages, want %d", len(got), len(want))
			}
			if most := missed/limit + 2; parts > most {
				t.Errorf("%d parts, want at most %d", parts, most)
			}
			if n := asked(); topics > 128 && n > topics { // one for each would be thousands
				t.Errorf("%d requests for %d parts", n, parts)
			}
			last, err := c.Last(t.Context(), patterns...)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[bus.Topic]bool{}
			for _, m := range last.Messages {
				seen[m.Topic] = true
			}
			if len(seen) != len(last.Messages) || len(seen) < topics*3/4 || last.Messages[len(last.Messages)-1].Seq != want[len(want)-1] {
				t.Errorf("%d last messages of %d topics, of %d", len(last.Messages), len(seen), topics)
			}
			if n := asked(); topics > 128 && n > topics+50 {
				t.Errorf("%d requests, with how things stand", n)
			}
		})
	}
}

// requests counts what NATS' JetStream is asked until done is called.
func requests(t *testing.T, server *bustest.Server) (done func() int) {
	t.Helper()
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() int {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		n, _, err := sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}
