package edge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
	"tidings/edge/poll"
	"tidings/edge/wire"
)

// stage is a loop that nobody runs, with one feed: what its goroutine would do, the test does.
type stage struct {
	tb    testing.TB
	loop  *loop
	feed  *feed
	topic *topic
	seq   uint64
}

// set makes a stage for a topic whose delivery is `every`.
func set(tb testing.TB) *stage {
	tb.Helper()
	e := &Edge{cfg: Config{Node: "edge-0"}.withDefaults(), log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), anyone: &session{Session: auth.Anyone()}}
	e.hub = newHub(nil, e.log, e.metrics)
	l, err := newLoop(e, 0, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	const pattern = "bench.0"
	s := &stage{tb: tb, loop: l, topic: &topic{name: pattern, every: true}}
	tb.Cleanup(func() {
		l.conns.each(func(slot uint32, c *conn) {
			if c.sock != (poll.Socket{}) {
				c.sock.Close()
			}
		})
		if err := l.poller.Close(); err != nil {
			tb.Error(err)
		}
	})
	s.feed = l.feed(pattern)
	l.epoch = "1z8k"
	l.granted(grant{feed: s.feed, at: bus.Position{Epoch: l.epoch}, topics: []known{{topic: s.topic}}})
	return s
}

// next is the topic's next message.
func (s *stage) next() bus.Message {
	s.seq++
	return bus.Message{Topic: "bench.0", Seq: s.seq, Prev: s.seq - 1, Time: time.Unix(1790000000, 0), Payload: payload512}
}

var payload512 = []byte(`{"pad":"` + strings.Repeat("x", 502) + `"}`)

func (s *stage) frame() *frame { return dataFrame(s.topic, s.next(), false) }

// crowd adds subscribers that exist for the loop alone: nothing can be sent to them.
func (s *stage) crowd(n int) {
	for range n {
		slot, c := s.loop.conns.take()
		c.state, c.session = serving, s.loop.node.anyone
		s.loop.join(slot, c, sub{feed: s.feed})
	}
}

// clients adds subscribers with a socket, at whose other end somebody reads.
func (s *stage) clients(n int) {
	s.tb.Helper()
	listener, err := poll.Listen(context.Background(), "127.0.0.1:0", poll.Options{})
	if err != nil {
		s.tb.Fatal(err)
	}
	defer listener.Close()
	batch := make([]poll.Accepted, 1)
	for range n {
		far, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			s.tb.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, far)
		}()
		s.tb.Cleanup(func() { far.Close(); <-read })
		if _, err := listener.Accept(batch); err != nil {
			s.tb.Fatal(err)
		}
		slot, c := s.loop.conns.take()
		if c.sock, err = s.loop.poller.Add(batch[0], ref{slot, c.gen}.token()); err != nil {
			s.tb.Fatal(err)
		}
		c.state, c.session = serving, s.loop.node.anyone
		s.loop.join(slot, c, sub{feed: s.feed})
	}
}

// fill makes what is recent of the feed as long as it gets.
func (s *stage) fill() {
	for range s.loop.node.cfg.Limits.Recent + 1 {
		s.loop.spread(s.frame())
		s.forget()
	}
}

// forget ends a turn in which nothing was sent.
func (s *stage) forget() {
	for _, slot := range s.loop.turn.marked {
		c := s.loop.conns.at(slot)
		c.head, c.tail = -1, -1
	}
	s.loop.turn.reset()
}

// framesPerTurn are how many messages a turn brings: one goes out as it is, several are bundled.
var framesPerTurn = []int{1, 8}

func TestFanout_AllocatesNothing(t *testing.T) {
	for _, n := range framesPerTurn {
		t.Run(fmt.Sprint(n, " a turn"), func(t *testing.T) {
			s := set(t)
			s.clients(32)
			s.fill()
			frames := make([]*frame, 4096)
			for i := range frames {
				frames[i] = s.frame()
			}
			turn := func() {
				for range n {
					s.loop.spread(frames[0])
					frames = frames[1:]
				}
				s.loop.flush()
			}
			for range 10 { // until what is used again from turn to turn is as large as it gets
				turn()
			}
			if got := testing.AllocsPerRun(100, turn); got != 0 {
				t.Errorf("%v allocations for %d deliveries", got, 32*n)
			}
		})
	}
}

func TestDataFrame_AllocatesItselfAndItsBytes(t *testing.T) {
	s := set(t)
	if n := testing.AllocsPerRun(100, func() { s.frame() }); n > 2 {
		t.Errorf("%v allocations, want 2", n)
	}
}

// What is allocated for a client that comes back does not grow with what it missed, but for the one list.
func TestResume_AllocatesOneList(t *testing.T) {
	s := set(t)
	s.fill()
	for _, missed := range []uint64{1, 250} {
		w := s.returning(missed)
		n := testing.AllocsPerRun(100, func() {
			if frames, ok := s.loop.resume(w); !ok || len(frames) != int(missed) {
				t.Fatalf("missed %d, brought %d, %v", missed, len(frames), ok)
			}
		})
		if most := 10.0; n > most {
			t.Errorf("%v allocations for %d messages, want at most %v", n, missed, most)
		}
	}
}

// returning is the wish of a client that missed the newest messages.
func (s *stage) returning(missed uint64) *want {
	return &want{feed: s.feed, Want: wire.Want{Topic: "bench.0", Since: &wire.Position{Epoch: s.loop.epoch, Seq: s.seq - missed}}}
}

func BenchmarkDataFrame(b *testing.B) {
	s := set(b)
	b.ReportAllocs()
	for b.Loop() {
		s.frame()
	}
}

// BenchmarkDeflateFrame compresses what containers use, numbers and ids that look like chance, cut to several sizes. It reports what
// of a frame is left, and the time that each byte saved costs: deflateMin is chosen by it.
func BenchmarkDeflateFrame(b *testing.B) {
	for _, size := range []int{64, 128, 256, 512, 1 << 10, 4 << 10, 16 << 10} {
		b.Run(fmt.Sprint("size=", size), func(b *testing.B) {
			s := set(b)
			m := s.next()
			m.Payload = statistics(size)
			plain := dataFrame(s.topic, m, false).wire
			b.ReportAllocs()
			var packed []byte
			for b.Loop() {
				packed = deflateFrame(plain)
			}
			b.ReportMetric(float64(len(packed))/float64(len(plain)), "left/byte")
			if saved := len(plain) - len(packed); saved > 0 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*saved), "ns/saved-byte")
			}
		})
	}
}

// statistics are those of as many containers as fit; the last one is cut.
func statistics(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := []byte(`{"intervalSeconds":1,"stats":[`)
	for len(b) < size {
		b = fmt.Appendf(b, `{"id":"%016x%016x%016x%016x","cpuCores":%.4f,"onlineCpus":16,"memoryBytes":%d,"memoryLimit":%d,"receiveBytes":%d,"transmitBytes":%d,"pids":%d},`,
			random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), random.Float64(), random.Uint32(), 1<<34, random.Uint64(), random.Uint64(), random.Uint32N(100))
	}
	return b[:size]
}

// BenchmarkFanOut marks the subscribers of a message; sending is another's.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			s := set(b)
			s.crowd(n)
			s.fill()
			f := s.frame()
			b.ReportAllocs()
			for b.Loop() {
				s.loop.spread(f)
				s.forget()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
		})
	}
}

// BenchmarkFlush sends what is due, through real sockets.
func BenchmarkFlush(b *testing.B) {
	const clients = 64
	for _, n := range framesPerTurn {
		b.Run(fmt.Sprintf("frames=%d", n), func(b *testing.B) {
			s := set(b)
			s.clients(clients)
			s.fill()
			f := s.frame()
			b.ReportAllocs()
			for b.Loop() {
				for range n {
					s.loop.spread(f)
				}
				s.loop.flush()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*clients), "ns/delivery")
		})
	}
}

// BenchmarkResume finds what a returning client missed.
func BenchmarkResume(b *testing.B) {
	for _, missed := range []uint64{0, 1, 250} {
		b.Run(fmt.Sprintf("missed=%d", missed), func(b *testing.B) {
			s := set(b)
			s.fill()
			w := s.returning(missed)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.loop.resume(w); !ok {
					b.Fatal("not recovered")
				}
			}
		})
	}
}

// BenchmarkMatching finds the interests of a topic that is new, among many.
func BenchmarkMatching(b *testing.B) {
	h := newHub(nil, slog.New(slog.DiscardHandler), newMetrics(nil))
	for i := range 1000 {
		in := &interest{pattern: bus.Pattern(fmt.Sprintf("metrics.host-%d", i)), ready: true}
		h.interests[in.pattern] = in
	}
	for _, p := range []bus.Pattern{"metrics.*", "containers.>", "*.host-7", "host.*", ">"} {
		in := &interest{pattern: p, ready: true}
		h.interests[p] = in
		h.wild = append(h.wild, in)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(h.matching("metrics.host-7")) != 4 {
			b.Fatal("wrong interests")
		}
	}
}
