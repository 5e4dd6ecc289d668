package edge

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"
)

// packed is a frame's other form, for connections that negotiated permessage-deflate (RFC 7692). Neither side keeps a
// context from one message to the next, so it is the same for all of them and made once, by the loop that needs it first.
type packed struct {
	once sync.Once
	wire []byte
}

// deflateMin is from how many bytes on a message is compressed. Smaller ones leave in one packet either way and
// would cost more time than they save.
const deflateMin = 256

// bytes is the frame as a connection gets it.
func (f *frame) bytes(deflate bool) []byte {
	if !deflate || f.packed == nil {
		return f.wire
	}
	f.packed.once.Do(func() { f.packed.wire = deflateFrame(f.wire) })
	return f.packed.wire
}

// deflaters are few: one for each loop that compresses at the moment. One is some 100 KB, none is a connection's.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is a valid one
	return w
}}

// flushed ends every block that a flush wrote; a message leaves it out (RFC 7692 §7.2.1).
const flushed = "\x00\x00\xff\xff"

// deflateFrame compresses a text frame. What does not get smaller stays as it is, which is allowed.
func deflateFrame(plain []byte) []byte {
	text := plain[headerLength(plain):]
	var out bytes.Buffer
	out.Grow(maxHeader + len(text)/2)
	out.Write(make([]byte, maxHeader))
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if _, err := w.Write(text); err != nil { // a buffer takes all
		return plain
	}
	if err := w.Flush(); err != nil {
		return plain
	}
	b := bytes.TrimSuffix(out.Bytes(), []byte(flushed))
	if len(b)-maxHeader >= len(text) {
		return plain
	}
	b = seal(ws.OpText, b)
	b[0] |= 0x40 // RSV1
	return b
}

// headerLength is the length of a frame's header as seal writes it.
func headerLength(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// inflater decompresses messages of clients. A loop has one, once a client has sent it something compressed.
type inflater struct {
	in  bytes.Reader
	r   io.ReadCloser
	buf []byte
}

var errInflatedTooBig = errors.New("too big when inflated")

// inflate returns a message's text, which is good until the next call. It gives up as soon as there are more than max bytes.
func (z *inflater) inflate(message []byte, max int) ([]byte, error) {
	// The flush that was left out, and an empty last block for the reader to end with.
	z.in.Reset(append(message[:len(message):len(message)], flushed+"\x01\x00\x00\xff\xff"...))
	if z.r == nil {
		z.r = flate.NewReader(&z.in)
	} else if err := z.r.(flate.Resetter).Reset(&z.in, nil); err != nil {
		return nil, err
	}
	if cap(z.buf) < max+1 {
		z.buf = make([]byte, max+1)
	}
	for n := 0; ; {
		k, err := z.r.Read(z.buf[n : max+1])
		n += k
		switch {
		case n > max:
			return nil, errInflatedTooBig
		case errors.Is(err, io.EOF):
			return z.buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
}

// deflateOffer answers a client's offer of permessage-deflate.
type deflateOffer struct {
	extension wsflate.Extension
}

func (o *deflateOffer) reset() {
	o.extension.Reset()
	o.extension.Parameters = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
}

// negotiate accepts the first offer that we can keep to. One that we can't, or that is malformed, is declined, and
// the connection goes on without (RFC 7692 §5.1).
func (o *deflateOffer) negotiate(offer httphead.Option) (httphead.Option, error) {
	answer, err := o.extension.Negotiate(offer)
	if err != nil {
		return httphead.Option{}, nil
	}
	return answer, nil
}

func (o *deflateOffer) accepted() bool {
	_, ok := o.extension.Accepted()
	return ok
}
