package edge

import (
	"encoding/binary"
	"time"

	"github.com/gobwas/ws"

	"tidings/bus"
	"tidings/edge/wire"
)

// frame is one message to clients as it goes on the wire, header and payload. It is built once for all who get it
// and never changed afterwards, so any number of loops and sockets may share it.
type frame struct {
	topic *topic // nil: an ack, error or the like, for one connection
	seq   uint64 // 0: it bypassed the stream
	gone  bool   // the topic's last message lapsed
	pong  bool   // answers a ping
	late  bool   // of an `every` topic, and what lies behind it was passed on before it
	lost  bool   // a gap: tells every subscriber of the topic that messages are missing
	stale bool   // a status: values are getting old
	fresh bool   // a status: all that was missed has been passed on before it
	upTo  uint64 // of a gap: the last place that is missing; 0: places are void
	took  int64  // when the stream took it, Unix nanoseconds; 0: not a live message
	wire  []byte

	packed *packed // compressed, where some connection wants it so; nil: not worth it
}

// place is where a frame lies in the stream, and of a gap where it ends; 0: nowhere.
func (f *frame) place() uint64 {
	if f.lost {
		return f.upTo
	}
	return f.seq
}

// maxHeader is the longest header of a frame that a server sends (RFC 6455 §5.2, without a mask).
const maxHeader = 10

// newFrame wraps one text message.
func newFrame(text []byte) *frame {
	return &frame{wire: seal(ws.OpText, append(make([]byte, maxHeader, maxHeader+len(text)), text...))}
}

// dataFrame builds the frame of a message. Its bytes are the same for every subscriber. With deflate some may get them
// compressed.
func dataFrame(t *topic, m bus.Message, deflate bool) *frame {
	const envelope = 128 // bytes of the JSON around a payload, besides the topic twice
	buf := make([]byte, maxHeader, maxHeader+envelope+2*len(m.Topic)+len(m.Payload))
	f := &frame{topic: t, seq: m.Seq, gone: m.Gone}
	data := wire.Data{Topic: string(m.Topic), Seq: m.Seq, Prev: m.Prev, Payload: m.Payload, Gone: m.Gone}
	if !m.Time.IsZero() {
		data.Time, f.took = m.Time.UnixMilli(), m.Time.UnixNano()
	}
	f.wire = seal(ws.OpText, wire.AppendData(buf, data))
	if deflate && len(f.wire) >= deflateMin {
		f.packed = &packed{}
	}
	return f
}

// gapFrame builds the word that messages of a topic with after < seq < before are lost.
func gapFrame(t *topic, loss bus.Loss, reason wire.GapReason, now time.Time) *frame {
	f := newFrame(wire.AppendGap(nil, string(loss.Topic), now.UnixMilli(), loss.After, loss.Before, reason))
	f.topic, f.lost = t, true
	if reason != wire.GapEpoch {
		f.upTo = loss.Before - 1
	}
	return f
}

// seal writes the header of a final frame right before its payload, for which buf has maxHeader
// bytes of room, and returns both.
func seal(op ws.OpCode, buf []byte) []byte {
	n := len(buf) - maxHeader
	first := byte(0x80) | byte(op)
	switch {
	case n < 126:
		h := buf[maxHeader-2:]
		h[0], h[1] = first, byte(n)
		return h
	case n < 1<<16:
		h := buf[maxHeader-4:]
		h[0], h[1] = first, 126
		binary.BigEndian.PutUint16(h[2:], uint16(n))
		return h
	default:
		buf[0], buf[1] = first, 127
		binary.BigEndian.PutUint64(buf[2:], uint64(n))
		return buf
	}
}

// controlFrame builds a ping, pong or close frame; its payload is at most 125 bytes (RFC 6455 §5.5).
func controlFrame(op ws.OpCode, payload []byte) *frame {
	return &frame{wire: seal(op, append(make([]byte, maxHeader, maxHeader+len(payload)), payload...))}
}

// closeFrame builds a close frame.
func closeFrame(code wire.CloseCode, reason string) *frame {
	return controlFrame(ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), reason))
}
