package bench

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"
)

// serverFrame is one frame of the server, in the memory that it was read into.
type serverFrame struct {
	op      ws.OpCode
	packed  bool // RSV1: the payload is deflated (RFC 7692 §6.1)
	payload []byte
}

// What may be wrong with bytes that a server sent.
var (
	errIncomplete = errors.New("the frame is not complete")
	errMasked     = errors.New("the server masks a frame (RFC 6455 §5.1)")
	errFragment   = errors.New("the server sends a message in fragments, which no edge does")
	errTooLong    = errors.New("the server sends a frame that is too long")
)

// longest is the longest frame that is read: a payload, and the JSON around it.
const longest = maxSize + 4096

// split takes the first frame off b (RFC 6455 §5.2). It returns errIncomplete where b holds less than one.
func split(b []byte) (f serverFrame, rest []byte, err error) {
	if len(b) < 2 {
		return f, b, errIncomplete
	}
	switch {
	case b[1]&0x80 != 0:
		return f, b, errMasked
	case b[0]&0x80 == 0 || b[0]&0x0f == 0:
		return f, b, errFragment
	}
	length, header := uint64(b[1]), 2
	switch length {
	case 126:
		header = 4
		if len(b) < header {
			return f, b, errIncomplete
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		header = 10
		if len(b) < header {
			return f, b, errIncomplete
		}
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > longest {
		return f, b, errTooLong
	}
	if uint64(len(b)-header) < length {
		return f, b, errIncomplete
	}
	end := header + int(length)
	f = serverFrame{op: ws.OpCode(b[0] & 0x0f), packed: b[0]&0x40 != 0, payload: b[header:end]}
	return f, b[end:], nil
}

// masked is a frame as a client sends it (RFC 6455 §5.3). The mask hides nothing here, so it is a constant one.
func masked(op ws.OpCode, payload []byte) []byte {
	f := ws.MaskFrameInPlaceWith(ws.NewFrame(op, true, append([]byte(nil), payload...)), [4]byte{'t', 'i', 'd', 'e'})
	return ws.MustCompileFrame(f)
}
