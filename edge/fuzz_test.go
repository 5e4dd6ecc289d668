package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// visitor is one connection of a stage, to which bytes come from memory.
type visitor struct {
	*stage
	slot uint32
	conn *conn
	gen  uint32
}

func (s *stage) visitor(state connState) *visitor {
	s.tb.Helper()
	s.loop.node.web = newWeb(nil, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	s.loop.node.web.Close() // whoever is handed over is hung up on
	slot, c := s.loop.conns.take()
	near, far := net.Pipe()
	s.tb.Cleanup(func() { near.Close() })
	var err error
	if c.sock, err = s.loop.poller.Add(poll.FromConn(far), ref{slot, c.gen}.token()); err != nil {
		s.tb.Fatal(err)
	}
	c.state, c.armed, c.upgraded = state, poll.Readable, state == serving
	if c.upgraded {
		c.session = s.loop.node.anyone
	}
	return &visitor{s, slot, c, c.gen}
}

// gone reports whether the connection is no longer the loop's.
func (v *visitor) gone() bool { return v.loop.conns.find(ref{v.slot, v.gen}) == nil }

// hear brings bytes, as long as the loop would read them, and returns all that was answered.
func (v *visitor) hear(parts ...[]byte) []byte {
	v.tb.Helper()
	for _, part := range parts {
		if len(part) == 0 || v.gone() || v.conn.pending != nil || v.conn.state >= closing {
			continue
		}
		v.loop.received(v.slot, v.conn, bytes.Clone(part))
		v.checkInput()
	}
	var answer []byte
	if !v.gone() {
		for d := v.conn.head; d >= 0; d = v.loop.turn.dues[d].next {
			answer = append(answer, v.loop.turn.frames[v.loop.turn.dues[d].frame].wire...)
		}
	}
	return answer
}

// checkInput sees to it that what is kept of a connection is bounded.
func (v *visitor) checkInput() {
	v.tb.Helper()
	if v.gone() || v.conn.input == nil || v.conn.pending != nil {
		return
	}
	limits := v.loop.node.cfg.Limits
	if most := max(limits.MessageBytes+ws.MaxHeaderSize, limits.HeaderBytes+4); len(v.conn.input.raw) > most {
		v.tb.Errorf("%d bytes are kept of what is incomplete, at most %d may be", len(v.conn.input.raw), most)
	}
	if len(v.conn.input.message) > limits.MessageBytes {
		v.tb.Errorf("%d bytes of fragments are kept, at most %d may be", len(v.conn.input.message), limits.MessageBytes)
	}
}

// split cuts data in three where the fuzzer says.
func split(data []byte, a, b uint16) [][]byte {
	i, j := int(a)%(len(data)+1), int(b)%(len(data)+1)
	if i > j {
		i, j = j, i
	}
	return [][]byte{data[:i], data[i:j], data[j:]}
}

func masked(fin bool, op ws.OpCode, text string) []byte {
	return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(text)), [4]byte{1, 2, 3, 4}))
}

// FuzzFrames brings a WebSocket whatever bytes: it answers with good frames, keeps little, and it is all the same where
// the bytes were split on their way.
func FuzzFrames(f *testing.F) {
	const beat = `{"type":"heartbeat","id":7}`
	for _, seed := range [][]byte{
		masked(true, ws.OpText, beat),
		append(masked(true, ws.OpText, beat), masked(true, ws.OpText, `{"type":"subscribe","id":8,"topics":["a.b"]}`)...),
		bytes.Join([][]byte{masked(false, ws.OpText, beat[:5]), masked(true, ws.OpPing, "hey"), masked(true, ws.OpContinuation, beat[5:])}, nil),
		masked(true, ws.OpBinary, beat),
		masked(true, ws.OpText, "\xff"),
		masked(true, ws.OpClose, "\x03\xe8bye"),
		masked(true, ws.OpClose, ""),
		masked(true, ws.OpPong, ""),
		masked(true, ws.OpText, strings.Repeat("x", 5000)),
		ws.MustCompileFrame(ws.NewTextFrame([]byte(beat))),
		{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
		{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
		bytes.Repeat(masked(true, ws.OpText, "{}"), 12),
	} {
		f.Add(seed, uint16(3), uint16(20))
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b uint16) {
		s := set(t)
		s.loop.node.cfg.Limits.MessageBytes = 4096
		whole, parts := s.visitor(serving), s.visitor(serving)
		got, again := whole.hear(data), parts.hear(split(data, a, b)...)
		if !bytes.Equal(got, again) {
			t.Errorf("at once: %q\nin parts: %q", got, again)
		}
		for rest := bytes.NewReader(got); rest.Len() > 0; {
			frame, err := readFrame(rest)
			if err != nil {
				t.Fatalf("answered %q: %v", got, err)
			}
			if err := ws.CheckHeader(frame.Header, ws.StateClientSide); err != nil || frame.Header.Masked {
				t.Errorf("answered with header %+v: %v", frame.Header, err)
			}
			switch frame.Header.OpCode {
			case ws.OpText:
				if _, err := wire.ParseMessage(frame.Payload); err != nil || !json.Valid(frame.Payload) || !utf8.Valid(frame.Payload) {
					t.Errorf("answered %q: %v", frame.Payload, err)
				}
			case ws.OpClose:
				if rest.Len() > 0 {
					t.Errorf("%d bytes behind a close", rest.Len())
				}
				if len(frame.Payload) < 2 || binary.BigEndian.Uint16(frame.Payload) < 1000 {
					t.Errorf("closed with %q", frame.Payload)
				}
			case ws.OpPong:
			default:
				t.Errorf("answered with a frame of kind %x", frame.Header.OpCode)
			}
		}
	})
}

// FuzzUpgrade brings a new connection whatever bytes: it is upgraded, refused with a good response, given to the HTTP server, or
// more is waited for, wherever they were split on their way.
func FuzzUpgrade(f *testing.F) {
	const good = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1\r\n"
	for _, seed := range []string{
		good + "\r\n",
		good + "Origin: https://localhost\r\n\r\n" + string(masked(true, ws.OpText, `{"type":"heartbeat","id":7}`)),
		good + "Origin: https://evil\r\n\r\n",
		good + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
		good + strings.Repeat("A: b\r\n", 100) + "\r\n",
		good + "X: " + strings.Repeat("y", 9000),
		strings.Replace(good, "13", "8", 1) + "\r\n",
		strings.Replace(good, "GET", "POST", 1) + "\r\n",
		strings.Replace(good, "tidings.v1", "mqtt", 1) + "\r\n",
		strings.ToLower(good) + "\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
		"\r\n\r\n",
		"\x16\x03\x01\x02\x00",
	} {
		f.Add([]byte(seed), uint16(10), uint16(200))
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b uint16) {
		s := set(t)
		whole, parts := s.visitor(greeting), s.visitor(greeting)
		got, again := whole.hear(data), parts.hear(split(data, a, b)...)
		if whole.gone() != parts.gone() {
			t.Fatalf("at once it is handed over: %v; in parts: %v", whole.gone(), parts.gone())
		}
		if len(got) == 0 {
			if len(again) != 0 {
				t.Errorf("at once nothing is answered, in parts %q", again)
			}
			return
		}
		request, _ := http.NewRequest("GET", "/ws", nil)
		in := bufio.NewReader(bytes.NewReader(got))
		response, err := http.ReadResponse(in, request)
		if err != nil {
			t.Fatalf("answered %q: %v", got, err)
		}
		status, _, _ := bytes.Cut(got, []byte("\r\n"))
		if !bytes.HasPrefix(again, status) {
			t.Errorf("at once %s, in parts %.40q", status, again)
		}
		switch response.StatusCode {
		case http.StatusSwitchingProtocols:
			if response.Header.Get("Sec-WebSocket-Accept") == "" {
				t.Errorf("answered %q", got)
			}
			if first, err := readFrame(in); err != nil || !bytes.Contains(first.Payload, []byte(`"connected"`)) {
				t.Errorf("the first message is %q, %v", first.Payload, err)
			}
		case 400, 403, 426, 431:
			var refusal struct{ Code, Message string }
			if err := json.NewDecoder(response.Body).Decode(&refusal); err != nil || refusal.Code == "" {
				t.Errorf("refused with %q: %v", got, err)
			}
		default:
			t.Errorf("answered %s", response.Status)
		}
	})
}

// readFrame reads a frame of an edge, which bounds its messages.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// FuzzRequest brings a WebSocket whatever text: it is answered once, with its id where that can be read, and briefly; or it
// waits for NATS.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"type":"subscribe","id":1,"topics":["metrics.web-1",{"topic":"container-events.*","since":{"epoch":"1z8k","seq":4031}}]}`,
		`{"type":"subscribe","id":1,"topics":["bench.0",{"topic":"bench.0","last":3}]}`,
		`{"type":"subscribe","id":1,"topics":[{"topic":"bench.0","since":{"epoch":"1z8k","seq":2}}]}`,
		`{"type":"subscribe","id":1,"topics":[{"topic":"bench.0","since":{"epoch":"other","seq":2},"interval_ms":100,"snapshot":false}]}`,
		`{"type":"unsubscribe","id":2,"topics":["metrics.web-1"]}`,
		`{"type":"action","id":3,"host":"web-1","container":"api","action":"restart","timeout_ms":10000}`,
		`{"type":"refresh","id":4,"token":"eyJ"}`,
		`{"type":"heartbeat","id":5}`,
		`{"type":"heartbeat","id":9007199254740993}`,
		`{"type":"subscribe","id":6,"topics":["a..b"]}`,
		`[]`, ``, `{`, `{"id":{}}`, "{\"id\":7,\"type\":\"\\u0000\\ud800\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // closed before it comes to this
		}
		s := set(t)
		for range 5 {
			s.loop.spread(s.frame())
		}
		s.forget()
		v := s.visitor(serving)
		v.loop.request(v.slot, v.conn, []byte(text))
		var asked struct{ ID json.Number }
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		readable := decoder.Decode(&asked) == nil && json.Valid([]byte(text))
		answers := bytes.NewReader(v.hear())
		if v.conn.pending != nil {
			if answers.Len() > 0 {
				t.Errorf("it waits, but was answered")
			}
			return
		}
		for n := 0; n == 0 || answers.Len() > 0; n++ {
			frame, err := readFrame(answers)
			if err != nil {
				t.Fatal(err)
			}
			text := frame.Payload
			m, err := wire.ParseMessage(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			switch {
			case n == 0 && m.Type != "ack" && m.Type != "error", n > 0 && !m.IsData() && m.Type != "gap":
				t.Errorf("%d: got %q", n, text)
			case m.Type == "ack" && (!readable || fmt.Sprint(m.ID) != asked.ID.String()):
				t.Errorf("acked with %q", text)
			case m.Type == "error" && len(text) > 1000:
				t.Errorf("an error of %d bytes", len(text))
			}
		}
	})
}
