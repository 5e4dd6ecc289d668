package edge

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDeflatedFrame_InflatesToTheSameText(t *testing.T) {
	var z inflater
	for _, size := range []int{256, 512, 4096, 70_000} {
		text := []byte(strings.Repeat(`{"cpu":0.21,"x":"é"}`, size/20+1)[:size])
		plain := newFrame(text).wire
		small := deflateFrame(plain)
		if len(small) >= len(plain) || small[0] != 0xc1 {
			t.Fatalf("%d bytes became %d, first byte %#x", len(plain), len(small), small[0])
		}
		got, err := z.inflate(small[headerLength(small):], size)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: not what was deflated: %v", size, err)
		}
		if _, err := z.inflate(small[headerLength(small):], size-1); !errors.Is(err, errInflatedTooBig) {
			t.Errorf("%d bytes where %d are allowed: %v", size, size-1, err)
		}
	}
}

func TestIncompressibleFrame_StaysAsItIs(t *testing.T) {
	noise := make([]byte, 1000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	plain := newFrame(noise).wire
	if got := deflateFrame(plain); !bytes.Equal(got, plain) {
		t.Errorf("%d bytes of noise became %d", len(plain), len(got))
	}
}

func FuzzInflate(f *testing.F) {
	plain := newFrame([]byte(strings.Repeat("tidings ", 100))).wire
	small := deflateFrame(plain)
	f.Add(small[headerLength(small):])
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, message []byte) {
		var z inflater
		const most = 1 << 10
		got, err := z.inflate(message, most)
		if len(got) > most || (err != nil && got != nil) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := z.inflate(small[headerLength(small):], most); err != nil {
			t.Errorf("after that, a good message: %v", err)
		}
	})
}
