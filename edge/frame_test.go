package edge

import (
	"bytes"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tidings/bus"
	"tidings/edge/wire"
)

func TestFrame_HeadersAreThoseOfTheCodec(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 200_000} {
		text := bytes.Repeat([]byte("x"), size)
		want := ws.MustCompileFrame(ws.NewTextFrame(text))
		if got := newFrame(text).wire; !bytes.Equal(got, want) {
			t.Errorf("%d bytes: header %x, want %x", size, got[:min(len(got), 10)], want[:min(len(want), 10)])
		}
	}
	if got, want := closeFrame(wire.CloseDraining, "bye").wire, ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1012, "bye"))); !bytes.Equal(got, want) {
		t.Errorf("close frame %x, want %x", got, want)
	}
}

func TestDataFrame_IsOneMessage(t *testing.T) {
	name, err := bus.ParseTopic("metrics.web-1")
	if err != nil {
		t.Fatal(err)
	}
	m := bus.Message{Topic: name, Seq: 7, Prev: 5, Time: time.UnixMilli(1790000000000), Payload: []byte(`{"a":1}`)}
	b := dataFrame(&topic{name: name}, m, false).wire
	h, err := ws.ReadHeader(bytes.NewReader(b))
	if err != nil || !h.Fin || h.OpCode != ws.OpText || h.Masked {
		t.Fatalf("header %+v, %v", h, err)
	}
	got := b[len(b)-int(h.Length):]
	const want = `{"type":"metrics","topic":"metrics.web-1","seq":7,"prev":5,"timestamp":1790000000000,"payload":{"a":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
