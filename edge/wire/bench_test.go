package wire

import (
	"strings"
	"testing"
)

// delivered is a data message as a client reads it.
var delivered = string(AppendData(nil, Data{Topic: "metrics.web-1", Seq: 4091, Prev: 4077, Time: 1790000000002,
	Payload: []byte(`"` + strings.Repeat("x", 510) + `"`)}))

// A client keeps type and topic of each message; the payload stays where it was.
func TestParseMessage_AllocatesTypeAndTopic(t *testing.T) {
	text := []byte(delivered)
	if n := testing.AllocsPerRun(100, func() {
		if m, err := ParseMessage(text); err != nil || m.Seq != 4091 {
			t.Fatal(m, err)
		}
	}); n > 2 {
		t.Errorf("%v allocations, want 2", n)
	}
}

func BenchmarkParseMessage(b *testing.B) {
	text := []byte(delivered)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	recovered := true
	topics := []AckTopic{{Topic: "metrics.web-1", Epoch: "1z8k", Seq: 4090}, {Topic: "container-events.*", Epoch: "1z8k", Seq: 4090, Recovered: &recovered}}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendAck(dst[:0], 1, 1790000000002, topics)
	}
}
