package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/wire"
)

func TestSplit_FramesAreThoseOfTheCodec(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, maxSize} {
		payload := bytes.Repeat([]byte("x"), size)
		b := ws.MustCompileFrame(ws.NewTextFrame(payload))
		for _, cut := range []int{0, 1, 2, 3, 9, len(b) - 1} {
			if cut < len(b) {
				if _, rest, err := split(b[:cut]); !errors.Is(err, errIncomplete) || len(rest) != cut {
					t.Errorf("the first %d of %d bytes: %v", cut, len(b), err)
				}
			}
		}
		f, rest, err := split(append(b, "next"...))
		if err != nil || f.op != ws.OpText || f.packed || !bytes.Equal(f.payload, payload) || string(rest) != "next" {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestSplit_RefusesWhatNoEdgeSends(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"masked":       {"\x81\x80\x00\x00\x00\x00", errMasked},
		"fragment":     {"\x01\x00", errFragment},
		"continuation": {"\x80\x00", errFragment},
		"endless":      {"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", errTooLong},
	} {
		if _, _, err := split([]byte(c.bytes)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(ws.MustCompileFrame(ws.NewTextFrame([]byte("hello"))))
	f.Add([]byte("\x81\x7e\x00\x05hello\x89\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, rest, err := split(b)
		if err != nil {
			return
		}
		source := bytes.NewReader(b)
		want, cerr := ws.ReadHeader(source)
		payload := b[len(b)-source.Len():]
		if cerr != nil || want.OpCode != got.op || want.Length != int64(len(got.payload)) || !bytes.HasPrefix(payload, got.payload) {
			t.Errorf("%x is %+v to the codec (%v), and %+v here", b, want, cerr, got)
		}
		if n := len(b) - len(rest); !bytes.Equal(b[n:], rest) || n < 2 {
			t.Errorf("the rest of %x is not %x", b, rest)
		}
	})
}

// sent is a data message as an edge sends it.
func sent(topic string, seq, prev uint64, payload string) []byte {
	return wire.AppendData(nil, wire.Data{Topic: topic, Seq: seq, Prev: prev, Time: 1790000000000, Payload: []byte(payload)})
}

func TestDecoder_ReadsWhatItPublished(t *testing.T) {
	due := time.Unix(1790000000, 123456789)
	for _, size := range []int{minSize, 512, 70_000} {
		for _, body := range bodies(size) {
			payload := appendPayload(nil, due, body, size)
			if len(payload) != size {
				t.Fatalf("a payload of %d bytes has %d", size, len(payload))
			}
			text := sent("bench.x1.17", 9, 7, string(payload))
			r, err := newDecoder("bench.x1.", false).read(serverFrame{payload: text})
			if want := (reading{topic: 17, seq: 9, prev: 7, due: due.UnixNano()}); err != nil || r != want {
				t.Fatalf("read %+v, %v of %s", r, err, text)
			}
		}
	}
}

func TestDecoder_DeflatedFramesAreReadOnceAndAgain(t *testing.T) {
	d := newDecoder("bench.x1.", false)
	for range 2 {
		for i := range 200 {
			f, err := wsflate.CompressFrame(ws.NewTextFrame(sent("bench.x1.3", uint64(i+2), uint64(i+1), `{"due":1790000000123456789,"x":"tidings tidings"}`)))
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.read(serverFrame{payload: f.Payload, packed: true})
			if err != nil || r.seq != uint64(i+2) || r.due != 1790000000123456789 {
				t.Fatalf("read %+v, %v", r, err)
			}
		}
	}
	if _, err := d.read(serverFrame{payload: []byte("\xff\xff"), packed: true}); err == nil {
		t.Error("what is not deflated was inflated")
	}
}

func TestDecoder_FloorSendsPayloadsAndAnybodys(t *testing.T) {
	d := newDecoder("bench.x1.", true)
	for text, want := range map[string]reading{
		`{"due":1790000000123456789,"x":1}`: {due: 1790000000123456789},
		`{"host":"web-1"}`:                  {topic: -1},
		``:                                  {topic: -1}, // a message that lapsed
	} {
		if r, err := d.read(serverFrame{payload: []byte(text)}); err != nil || r != want {
			t.Errorf("%s: read %+v, %v", text, r, err)
		}
	}
}

func FuzzDecoder_WaysAgree(f *testing.F) {
	const topic = "bench.x1."
	f.Add(sent(topic+"3", 9, 7, `{"due":1790000000123456789,"x":1}`))
	f.Add(sent(topic+"3", 0, 0, `{"due":1790000000123456789}`))
	f.Add(sent("bench.x2.3", 9, 7, `{"due":1}`))
	f.Add([]byte(`{"type":"bench","topic":"bench.x1.0","seq":1,"prev":0,"timestamp":1,"gone":true}`))
	f.Add([]byte(`{"type":"gap","topic":"bench.x1.0","payload":{"after":1,"before":3,"reason":"slow"}}`))
	f.Add([]byte(`{"due":17}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := newDecoder(topic, false)
		short, ok := d.scan(text)
		if !ok || len(text) > 1<<10 {
			return
		}
		m, err := wire.ParseMessage(text)
		if err != nil {
			return // the short way does not look at the end
		}
		if !strings.HasPrefix(m.Topic, topic) || m.Seq != short.seq || m.Prev != short.prev {
			// Of a member that is there twice the last counts, which the short way cannot know.
			if strings.Count(string(text), `"seq"`) == 1 && strings.Count(string(text), `"topic"`) == 1 && strings.Count(string(text), `"prev"`) == 1 && !strings.Contains(string(text), `\`) {
				t.Errorf("%s is %+v the short way", text, short)
			}
		}
	})
}

// bystander is a crowd that nobody runs, with one client of the given topics.
func bystander(cfg Config) (*crowd, *client) {
	cfg = cfg.withDefaults()
	c := &crowd{cfg: cfg, tally: newTally(), decoder: newDecoder("bench.x1.", false)}
	return c, &client{last: make([]uint64, cfg.Subscriptions), first: 2}
}

func TestCrowd_TellsWhatIsWrong(t *testing.T) {
	type place struct{ topic, seq, prev int }
	for _, c := range []struct {
		name   string
		places []place
		want   tally
	}{
		{"in order", []place{{2, 1, 0}, {3, 2, 0}, {2, 5, 1}, {2, 6, 5}, {3, 9, 2}}, tally{arrived: 5}},
		{"the first is missing", []place{{2, 4, 1}, {2, 5, 4}}, tally{arrived: 2, holes: 1}},
		{"one is missing", []place{{2, 1, 0}, {2, 5, 3}, {2, 6, 5}}, tally{arrived: 3, holes: 1}},
		{"twice", []place{{2, 1, 0}, {2, 1, 0}}, tally{arrived: 2, repeated: 1}},
		{"out of order", []place{{2, 1, 0}, {2, 6, 5}, {2, 5, 1}}, tally{arrived: 3, holes: 1, repeated: 1}},
		{"not asked for", []place{{0, 1, 0}}, tally{arrived: 1, strangers: 1}},
		{"around the end", []place{{9, 1, 0}, {9, 2, 1}}, tally{arrived: 2, strangers: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd, client := bystander(Config{Scenario: Scenario{Topics: 10, Subscriptions: 3}})
			for _, p := range c.places {
				crowd.message(client, reading{topic: p.topic, seq: uint64(p.seq), prev: uint64(p.prev), due: 1}, time.Now())
			}
			got := crowd.tally
			if got.arrived != c.want.arrived || got.holes != c.want.holes || got.repeated != c.want.repeated || got.strangers != c.want.strangers {
				t.Errorf("counted %+v", got)
			}
			r := Result{Deliveries: &Deliveries{Holes: got.holes, Repeated: got.repeated, Strangers: got.strangers}}
			if wrong := got.holes+got.repeated+got.strangers > 0; (r.Fault() != nil) != wrong {
				t.Errorf("the fault is %v", r.Fault())
			}
		})
	}
}

func TestCrowd_TellsOfGapsAndUnrest(t *testing.T) {
	crowd, client := bystander(Config{})
	for _, text := range []string{
		string(wire.AppendGap(nil, "bench.x1.0", 1, 3, 5, wire.GapSlow)),
		string(wire.AppendStatus(nil, 1, true, 1)),
		string(wire.AppendGoingAway(nil, 1, "draining", 0, 1, 2)),
		string(wire.AppendHeartbeat(nil, 1)),
	} {
		rest, err := crowd.frames(client, ws.MustCompileFrame(ws.NewTextFrame([]byte(text))), time.Now())
		if err != nil || len(rest) > 0 {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if crowd.tally.gaps != 1 || crowd.tally.unrest != 2 || crowd.tally.arrived != 0 {
		t.Errorf("counted %+v", crowd.tally)
	}
	_, err := crowd.frames(client, ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4408, "too slow"))), time.Now())
	if err == nil || err.Error() != "the edge closed with 4408 too slow" {
		t.Errorf("a close: %v", err)
	}
}

func TestLatency_CountsFromWhenItWasDue(t *testing.T) {
	crowd, client := bystander(Config{})
	now := time.Now()
	crowd.measure(now.Add(-time.Second), now)
	for seq, due := range []time.Time{now.Add(-time.Second), now.Add(-10 * time.Millisecond), now.Add(-2 * time.Second), now} {
		crowd.message(client, reading{topic: 0, seq: uint64(seq + 1), prev: uint64(seq), due: due.UnixNano()}, now)
	}
	l := crowd.tally.latency
	if l.TotalCount() != 2 || l.max().Round(10*time.Millisecond) != time.Second || l.at(50).Round(time.Millisecond) != 10*time.Millisecond {
		t.Errorf("%d times, %v: what is due outside of the time that is measured does not count", l.TotalCount(), l)
	}
}

// The schedule began before the publisher could: what should have been sent by now is late by that much, and none is left out.
func TestPublisher_SendsLateWhatItCouldNotSendInTime(t *testing.T) {
	conn := bustest.New(t).Connect(t)
	cfg := Config{Scenario: Scenario{Rate: 100, Duration: 500 * time.Millisecond}}.withDefaults()
	p, err := newPublisher(cfg, conn, "bench.x1.")
	if err != nil {
		t.Fatal(err)
	}
	const behind = 300 * time.Millisecond
	start := time.Now().Add(-behind)
	p.plan(start, start, start.Add(cfg.Duration))
	p.run(t.Context())
	if p.sent != 50 || p.measured[0] != 50 || len(p.failed) > 0 {
		t.Fatalf("sent %d, measured %d, failed %v", p.sent, p.measured[0], p.failed)
	}
	if late := p.late.max(); late < behind {
		t.Errorf("the first one was due %v ago, and the latest was late by %v", behind, late)
	}
	if most := p.late.at(75); most < behind/3 {
		t.Errorf("30 of 50 were due by then, but those behind the first were not late: %v", p.late)
	}
}

func TestPublisher_SaysWhatNATSDoesNotTake(t *testing.T) {
	server := bustest.New(t)
	conn, err := bus.Connect(t.Context(), bus.Config{Servers: []string{server.URL()}, MaxPayload: 100, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	p, err := newPublisher(Config{Scenario: Scenario{Rate: 100, Duration: 50 * time.Millisecond}}.withDefaults(), conn, "bench.x1.")
	if err != nil {
		t.Fatal(err)
	}
	p.plan(time.Now(), time.Now(), time.Now().Add(time.Hour))
	p.run(t.Context())
	if p.sent != 0 || fmt.Sprint(p.failed) == "map[]" {
		t.Errorf("sent %d, failed %v", p.sent, p.failed)
	}
}
