package wire

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestParseMessage_RefusesWhatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		``:                             "not json at byte 0: unexpected end of JSON input",
		"\"\xff\"":                     "not utf-8",
		`"hello"`:                      "a message is a json object",
		`{"id":1}`:                     "type: missing",
		`{"type":1}`:                   "type: 1 is not what belongs there",
		`{"type":"a","seq":-1}`:        "seq: -1 is not what belongs there",
		`{"type":"a","gone":"yes"}`:    `gone: "yes" is not what belongs there`,
		`{"type":"a","timestamp":1.5}`: "timestamp: 1.5 is not what belongs there",
	} {
		if _, err := ParseMessage([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestParseMessage_IgnoresWhatItDoesNotKnow(t *testing.T) {
	m, err := ParseMessage([]byte(` {"trace":{"type":"x"},"type":"metrics","topic":"metrics.a","seq":3,"prev":null,"payload": {"a":[1, 2]} ,"later":1} `))
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != "metrics" || m.Topic != "metrics.a" || m.Seq != 3 || string(m.Payload) != `{"a":[1, 2]}` {
		t.Errorf("read %+v", m)
	}
}

func FuzzParseMessage(f *testing.F) {
	for name := range goldenMessages {
		f.Add(golden(f, name+".json"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMessage(text)
		if err != nil {
			return
		}
		if m.Payload != nil && !json.Valid(m.Payload) {
			t.Fatalf("payload %q is not json", m.Payload)
		}
		var reference map[string]json.RawMessage
		if err := json.Unmarshal(text, &reference); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		if payload := reference["payload"]; string(payload) != "null" && !bytes.Equal(payload, m.Payload) {
			t.Fatalf("payload %q, encoding/json says %q", m.Payload, payload)
		}
		var kind string
		if err := json.Unmarshal(reference["type"], &kind); err != nil || kind != m.Type {
			t.Fatalf("type %q, encoding/json says %q, %v", m.Type, kind, err)
		}
	})
}
