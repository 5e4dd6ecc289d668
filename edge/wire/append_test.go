package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAppend_AllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for name, g := range goldenMessages {
		switch name {
		case "connected", "ack", "ack-action", "data", "data-gone", "gap", "error", "heartbeat", "status-ok", "going_away":
		default:
			continue // makes its arguments while it writes
		}
		if n := testing.AllocsPerRun(100, func() { g.write(dst) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
	for name, r := range goldenRequests {
		if n := testing.AllocsPerRun(100, func() { AppendRequest(dst, r) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { AppendRefusal(dst, Unavailable, "full\n") }); n != 0 {
		t.Errorf("refusal: %v allocations, want 0", n)
	}
}

func TestAppend_StringsMeanWhatWentIn(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"quote\" and \\":         "quote\" and \\",
		"\x00\x1f\b\f\n\r\t\x7f": "\x00\x1f\b\f\n\r\t\x7f",
		"☕ 𝄞 \u2028 </script>":   "☕ 𝄞 \u2028 </script>",
		"half \xe2\x98 then":     "half \ufffd\ufffd then",
		"\xff":                   "\ufffd",
		"real \ufffd stays":      "real \ufffd stays",
	} {
		var got string
		text := appendString(nil, in)
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Errorf("%q became %s, which means %q (%v)", in, text, got, err)
		}
	}
}

func TestAppendData_EmbedsThePayloadUnchanged(t *testing.T) {
	payload := " {\"b\" : 1.50,\n\"a\":\"\\u00e9\", \"a\":2}\n"
	text := string(AppendData(nil, Data{Topic: "x.y", Seq: 1, Payload: []byte(payload)}))
	if !strings.HasSuffix(text, `"payload":`+payload+"}") {
		t.Errorf("wrote %s", text)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x01é\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		want := strings.ToValidUTF8(s, "\ufffd")
		text := appendString(nil, s)
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q became %s: %v", s, text, err)
		}
		// ToValidUTF8 makes one of a run of wrong bytes, JSON readers one of each.
		if squeeze(got) != squeeze(want) {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func squeeze(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

func BenchmarkAppendData(b *testing.B) {
	d := Data{Topic: "metrics.web-1", Seq: 4091, Prev: 4077, Time: 1790000000002, Payload: []byte(`"` + strings.Repeat("x", 510) + `"`)}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendData(dst[:0], d)
	}
}
