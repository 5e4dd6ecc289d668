package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/gobwas/ws/wsflate"

	"tidings/edge/wire"
)

// reading is what the bench wants of a message: where it belongs, and when it was due.
type reading struct {
	kind  wire.MessageType // empty: data
	topic int              // which of this run's topics; -1: none of them
	seq   uint64           // 0: the floor's messages have no place
	prev  uint64
	due   int64 // Unix nanoseconds
}

// decoder reads messages for one goroutine.
type decoder struct {
	floor  bool   // messages are bare payloads
	topics string // what all topics of this run begin with, as in "bench.k3f9."
	head   []byte // what a data message of an edge begins with, up to the topic's number

	seed   maphash.Seed
	memory [remembered]inflated // of deflated frames
	text   bytes.Buffer
}

// remembered is how many deflated frames are known by heart. One frame goes to all clients, so it need not be
// inflated for each.
const remembered = 64

type inflated struct {
	packed []byte
	reading
}

// payloadHead is how a payload of the bench begins.
const payloadHead = `{"due":`

func newDecoder(topics string, floor bool) *decoder {
	kind, _, _ := strings.Cut(topics, ".")
	return &decoder{
		floor:  floor,
		topics: topics,
		head:   []byte(`{"type":"` + kind + `","topic":"` + topics),
		seed:   maphash.MakeSeed(),
	}
}

// read reads a text frame.
func (d *decoder) read(f serverFrame) (reading, error) {
	switch {
	case d.floor:
		return bare(f.payload), nil
	case f.packed:
		return d.unpack(f.payload)
	}
	return d.parse(f.payload)
}

// parse takes the short way for messages as our edge writes them, and the way of any client for others.
func (d *decoder) parse(text []byte) (reading, error) {
	if r, ok := d.scan(text); ok {
		return r, nil
	}
	m, err := wire.ParseMessage(text)
	if err != nil {
		return reading{}, err
	}
	r := reading{topic: -1, seq: m.Seq, prev: m.Prev}
	if !m.IsData() {
		r.kind = wire.MessageType(m.Type)
		return r, nil
	}
	number, ok := strings.CutPrefix(m.Topic, d.topics)
	var payload struct {
		Due int64 `json:"due"`
	}
	if n, err := strconv.Atoi(number); ok && err == nil && !m.Gone && json.Unmarshal(m.Payload, &payload) == nil {
		r.topic, r.due = n, payload.Due
	}
	return r, nil
}

// scan reads a data message whose members stand as wire.AppendData writes them.
func (d *decoder) scan(text []byte) (r reading, ok bool) {
	rest, ok := bytes.CutPrefix(text, d.head)
	if !ok {
		return r, false
	}
	var topic, due uint64
	for _, member := range [...]struct {
		value *uint64
		then  string // what follows it
	}{
		{&topic, `","seq":`}, {&r.seq, `,"prev":`}, {&r.prev, `,"timestamp":`}, {new(uint64), `,"payload":` + payloadHead}, {&due, ""},
	} {
		if *member.value, rest, ok = digits(rest); !ok {
			return reading{}, false
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(member.then)); !ok {
			return reading{}, false
		}
	}
	r.topic, r.due = int(topic), int64(due)
	return r, true
}

// bare reads a payload without anything around it. The floor passes on what it gets, so it may be anybody's.
func bare(text []byte) reading {
	rest, ok := bytes.CutPrefix(text, []byte(payloadHead))
	if !ok {
		return reading{topic: -1}
	}
	due, _, _ := digits(rest)
	return reading{due: int64(due)}
}

// digits takes a number off b, with no sign and of at most 19 digits.
func digits(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 19 && b[i]-'0' <= 9 {
		n = n*10 + uint64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}

// unpack reads a deflated message (RFC 7692).
func (d *decoder) unpack(packed []byte) (reading, error) {
	known := &d.memory[maphash.Bytes(d.seed, packed)%remembered]
	if bytes.Equal(known.packed, packed) {
		return known.reading, nil
	}
	d.text.Reset()
	if err := wsflate.DefaultHelper.DecompressTo(&d.text, packed); err != nil {
		return reading{}, fmt.Errorf("inflate: %w", err)
	}
	r, err := d.parse(d.text.Bytes())
	if err != nil {
		return reading{}, err
	}
	*known = inflated{packed: append(known.packed[:0], packed...), reading: r}
	return r, nil
}
