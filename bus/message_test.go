package bus_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
)

func TestLive_NamesItsPredecessor(t *testing.T) {
	c := bustest.New(t).Connect(t)
	l := listen(t, c, "metrics.*", "alerts.>")
	var before = map[bus.Topic]uint64{}
	for n, to := range []string{"metrics.a", "metrics.b", "metrics.a", "alerts.x.y", "metrics.a", "alerts.x.y"} {
		seq := publish(t, c, to, n)
		m := receive(t, c, l)
		if string(m.Topic) != to || m.Seq != seq || m.Prev != before[m.Topic] || number(t, m) != n || m.Gone {
			t.Errorf("got %v %s, want #%d after #%d", m, m.Payload, seq, before[m.Topic])
		}
		if age := time.Since(m.Time); age < 0 || age > time.Minute {
			t.Errorf("%v: time is %v", m, m.Time)
		}
		before[m.Topic] = m.Seq
	}
}

func TestLive_MarkerIsGone(t *testing.T) {
	t.Parallel()
	c := bustest.New(t).Connect(t)
	l := listen(t, c, ">")
	seq := publish(t, c, "host.a", 1, withTTL(time.Second))
	receive(t, c, l)
	m := receive(t, c, l) // the marker, once NATS has noticed
	if !m.Gone || m.Payload != nil || m.Topic != "host.a" || m.Prev != seq || m.Seq != seq+1 {
		t.Fatalf("got %v, gone %v, want a marker after #%d", m, m.Gone, seq)
	}
	if s, err := c.Last(t.Context(), ">"); err != nil || len(s.Messages) != 0 {
		t.Errorf("Last: %v, %v, want nothing", s.Messages, err)
	}
	r, err := c.After(t.Context(), seq, 0, ">")
	if err != nil || len(r.Messages) != 1 || !r.Messages[0].Gone || !r.Complete {
		t.Errorf("After: %+v, %v, want the marker", r, err)
	}
	next := publish(t, c, "host.a", 2)
	if m := receive(t, c, l); m.Seq != next || m.Prev != seq+1 {
		t.Errorf("got %v, want #%d after the marker", m, next)
	}
}

func TestLive_BypassedTheStream(t *testing.T) {
	server := bustest.New(t)
	c, stranger := server.Connect(t), dial(t, server)
	l := listen(t, c, "chat.>")
	send(t, stranger, &nats.Msg{Subject: "tidings.live.chat.room", Data: []byte(`"hi"`)})
	m := receive(t, c, l)
	if m.Seq != 0 || m.Prev != 0 || m.Time.IsZero() || string(m.Payload) != `"hi"` {
		t.Errorf("got %v %q at %v", m, m.Payload, m.Time)
	}
}

func TestLive_PublishersCannotForgeAPlace(t *testing.T) {
	server := bustest.New(t)
	c, stranger := server.Connect(t), dial(t, server)
	l := listen(t, c, ">")
	forged := nats.Header{"Nats-Sequence": {"99"}, "Nats-Last-Sequence": {"98"}, "Nats-Subject": {"tidings.pub.other"}, "Nats-Time-Stamp": {"2001-01-01T00:00:00Z"}}
	send(t, stranger, &nats.Msg{Subject: "tidings.pub.alerts", Header: forged, Data: []byte(`1`)})
	if m := receive(t, c, l); m.Seq != 1 || m.Prev != 0 || time.Since(m.Time) > time.Minute {
		t.Errorf("live: %v at %v", m, m.Time)
	}
	if s, err := c.Last(t.Context(), ">"); err != nil || len(s.Messages) != 1 || s.Messages[0].Topic != "alerts" || s.Messages[0].Seq != 1 {
		t.Errorf("Last: %v, %v", s.Messages, err)
	}
}

func TestDecode_SaysWhatIsInvalidAndCountsIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := bustest.New(t).Connect(t, func(cfg *bus.Config) { cfg.MaxPayload, cfg.Registerer = 100, registry })
	place := func(seq, last, at string) nats.Header {
		return nats.Header{"Nats-Sequence": {seq}, "Nats-Last-Sequence": {last}, "Nats-Time-Stamp": {at}}
	}
	const at = "2026-01-02T03:04:05.678901234Z"
	for name, tc := range map[string]struct {
		subject string
		header  nats.Header
		data    string
		want    error
	}{
		"topic":            {"tidings.live.a b", place("7", "3", at), `1`, bus.ErrInvalidTopic},
		"reserved":         {"tidings.live.ack.x", place("7", "3", at), `1`, bus.ErrInvalidTopic},
		"other branch":     {"tidings.pub.a", place("7", "3", at), `1`, bus.ErrInvalidTopic},
		"sequence":         {"tidings.live.a", place("x", "3", at), `1`, bus.ErrInvalidHeader},
		"sequence 0":       {"tidings.live.a", place("0", "0", at), `1`, bus.ErrInvalidHeader},
		"negative":         {"tidings.live.a", place("-7", "3", at), `1`, bus.ErrInvalidHeader},
		"too long":         {"tidings.live.a", place("99999999999999999999", "3", at), `1`, bus.ErrInvalidHeader},
		"no last sequence": {"tidings.live.a", nats.Header{"Nats-Sequence": {"7"}, "Nats-Time-Stamp": {at}}, `1`, bus.ErrInvalidHeader},
		"time":             {"tidings.live.a", place("7", "3", "yesterday"), `1`, bus.ErrInvalidHeader},
		"utf8":             {"tidings.live.a", place("7", "3", at), "\"\xff\"", bus.ErrInvalidUTF8},
		"json":             {"tidings.live.a", place("7", "3", at), `{"a":}`, bus.ErrInvalidJSON},
		"two values":       {"tidings.live.a", place("7", "3", at), `1 2`, bus.ErrInvalidJSON},
		"empty":            {"tidings.live.a", place("7", "3", at), ``, bus.ErrInvalidJSON},
		"large":            {"tidings.live.a", place("7", "3", at), `"` + strings.Repeat("x", 99) + `"`, bus.ErrTooLarge},
	} {
		m, err := c.Decode(&nats.Msg{Subject: tc.subject, Header: tc.header, Data: []byte(tc.data)})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if m.Payload != nil {
			t.Errorf("%s: the payload got through", name)
		}
		if readable := tc.want != bus.ErrInvalidTopic && tc.want != bus.ErrInvalidHeader; readable && (m.Seq != 7 || m.Prev != 3 || m.Topic != "a") {
			t.Errorf("%s: %v, want what could be read", name, m)
		}
	}
	for reason, want := range map[string]float64{"topic": 3, "header": 6, "utf8": 1, "json": 3, "too_large": 1} {
		if got := metric(t, registry, "tidings_bus_invalid_messages_total", reason); got != want {
			t.Errorf("invalid %s is counted %v times, want %v", reason, got, want)
		}
	}
}

func TestDecode_AllocatesNothing(t *testing.T) {
	c := bustest.New(t).Connect(t)
	m := liveMessage(`{"host":"web-1","cpu":{"utilization":0.213,"cores":[0.2,0.1]},"load":[0.52,0.48,0.40]}`)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Decode(m); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Decode allocates %v times", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	c := bustest.New(b).Connect(b)
	payload := `[` + strings.Repeat(`{"device":"nvme0n1","readBytes":123456789,"ioTimeRatio":0.02,"name":"a b c d e f"},`, 20) + `null]`
	m := liveMessage(payload)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := bustest.New(f).Connect(f)
	f.Add("tidings.live.metrics.a", "7", "3", "2026-01-02T03:04:05Z", "", []byte(`{"a":1}`))
	f.Add("tidings.live.metrics.a", "7", "3", "2026-01-02T03:04:05Z", "MaxAge", []byte(``))
	f.Add("tidings.live.", "", "", "", "", []byte("\xff"))
	f.Add("tidings.live.a", "", "", "", "", []byte("[1e5,-0,\"\\u00e9\\n\",true,false,null,{}]"))
	f.Fuzz(func(t *testing.T, subject, seq, last, at, marker string, data []byte) {
		h := nats.Header{}
		for key, value := range map[string]string{"Nats-Sequence": seq, "Nats-Last-Sequence": last, "Nats-Time-Stamp": at, "Nats-Marker-Reason": marker} {
			if value != "" {
				h.Set(key, value)
			}
		}
		m, err := c.Decode(&nats.Msg{Subject: subject, Header: h, Data: data})
		if err != nil {
			if m.Payload != nil {
				t.Errorf("an invalid payload got through: %q", m.Payload)
			}
			return
		}
		if _, err := bus.ParseTopic(string(m.Topic)); err != nil {
			t.Errorf("topic: %v", err)
		}
		if m.Gone != (marker != "") {
			t.Errorf("gone is %v, marker %q", m.Gone, marker)
		}
		if !m.Gone && !(json.Valid(data) && utf8.Valid(data)) {
			t.Errorf("payload %q is not valid", data)
		}
	})
}

func liveMessage(payload string) *nats.Msg {
	return &nats.Msg{
		Subject: "tidings.live.metrics.web-1",
		Header: nats.Header{"Nats-Stream": {"TIDINGS"}, "Nats-Subject": {"tidings.pub.metrics.web-1"}, "Nats-Sequence": {"1234567"},
			"Nats-Last-Sequence": {"1234500"}, "Nats-Time-Stamp": {"2026-01-02T03:04:05.678901234Z"}},
		Data: []byte(payload),
	}
}
