package poll

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
)

// dialled is a connection opened by Dial, and the listener's end of it.
func dialled(t *testing.T, o DialOptions) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = Dial(context.Background(), l.Addr().String(), o); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func TestBare_DialledConnectionGoesIntoAPoller(t *testing.T) {
	near, far := dialled(t, DialOptions{})
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	before := runtime.NumGoroutine()
	a, err := Bare(near)
	if err != nil {
		t.Fatal(err)
	}
	const token = 7
	s, err := p.Add(a, token)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := runtime.NumGoroutine() - before; runtime.GOOS == "linux" && n > 0 {
		t.Errorf("it takes %d goroutines", n)
	}
	fmt.Fprint(far, "hello")
	await(t, p, func(e Event) bool { return e.Token == token && e.Readable })
	buf := make([]byte, 8)
	if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if _, err := s.Read(buf); err != ErrAgain {
		t.Fatalf("there is nothing to read, but Read said %v", err)
	}
	if _, err := s.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, buf[:3]); err != nil || string(buf[:3]) != "bye" {
		t.Fatalf("the other side read %q, %v", buf[:3], err)
	}
}

func TestDial_ComesFromTheAddressAskedFor(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is this machine
		local = netip.MustParseAddr("127.0.3.4")
	}
	_, far := dialled(t, DialOptions{Local: local})
	if got := addrPort(far.RemoteAddr()).Addr(); got != local {
		t.Errorf("it comes from %v", got)
	}
}

func TestDial_SmallReceiveBufferHoldsTheSenderBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the buffer is set on Linux only")
	}
	taken := func(o DialOptions) (n int) {
		_, far := dialled(t, o)
		if err := far.(*net.TCPConn).SetWriteBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		a, err := Bare(far)
		if err != nil {
			t.Fatal(err)
		}
		p, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s, err := p.Add(a, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		piece := make([]byte, 1<<10)
		for {
			k, err := s.Write(piece)
			n += k
			if err != nil {
				return n
			}
		}
	}
	if small, usual := taken(DialOptions{ReceiveBuffer: 2 << 10}), taken(DialOptions{}); small*2 > usual {
		t.Errorf("it takes %d bytes unread with a small buffer and %d with the usual one", small, usual)
	}
}
