package poll

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transport makes connected pairs: one end for a poller, the other an ordinary connection.
type transport struct {
	name string
	pair func(t *testing.T) (Accepted, net.Conn)
}

func transports() []transport {
	return []transport{
		{"descriptor", func(t *testing.T) (Accepted, net.Conn) {
			l, err := Listen(context.Background(), "127.0.0.1:0", Options{SendBuffer: 16 << 10, Unsent: 16 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			batch := make([]Accepted, 4)
			if n, err := l.Accept(batch); n != 1 || err != nil {
				t.Fatalf("accepted %d: %v", n, err)
			}
			return batch[0], patient(c)
		}},
		{"stream", func(t *testing.T) (Accepted, net.Conn) {
			near, far := net.Pipe()
			return FromConn(near), patient(far)
		}},
	}
}

// patient gives the other end a deadline, so that bytes that are lost fail a test instead of hanging it.
func patient(c net.Conn) net.Conn {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

func each(t *testing.T, test func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn)) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			p, err := New()
			if err != nil {
				t.Fatal(err)
			}
			a, far := tr.pair(t)
			const token = Token(7)<<32 | 42
			s, err := p.Add(a, token)
			if err != nil {
				t.Fatal(err)
			}
			test(t, p, s, token, far)
			far.Close()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// await waits for the event that is wanted; stale ones of the other kind may come before it.
func await(t *testing.T, p *Poller, want func(Event) bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	events := make([]Event, 8)
	for time.Now().Before(deadline) {
		n, err := p.Wait(events, deadline, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events[:n] {
			if want(e) {
				return
			}
		}
	}
	t.Fatal("no such event")
}

func readable(token Token) func(Event) bool {
	return func(e Event) bool { return e.Token == token && e.Readable }
}

func TestSocket_ReadsWhatCame(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		buf := make([]byte, 64)
		if _, err := s.Read(buf); !errors.Is(err, ErrAgain) {
			t.Fatalf("nothing has come, but Read said %v", err)
		}
		for _, text := range []string{"one", "two", "three"} {
			go fmt.Fprint(far, text)
			await(t, p, readable(token))
			n, err := s.Read(buf)
			if err != nil || string(buf[:n]) != text {
				t.Fatalf("read %q, %v; want %q", buf[:n], err, text)
			}
		}
		s.Close()
	})
}

func TestSocket_ReadInSmallPieces_LosesNothing(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		sent := bytes.Repeat([]byte("0123456789"), 2000)
		go far.Write(sent)
		var got []byte
		buf := make([]byte, 7)
		for len(got) < len(sent) {
			await(t, p, readable(token))
			n, err := s.Read(buf)
			if err != nil && !errors.Is(err, ErrAgain) {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, sent) {
			t.Fatal("what was read is not what was sent")
		}
		s.Close()
	})
}

func TestSocket_TellsTheEnd(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		far.Close()
		await(t, p, readable(token))
		if _, err := s.Read(make([]byte, 8)); !errors.Is(err, io.EOF) {
			t.Fatalf("the other side closed, but Read said %v", err)
		}
		s.Close()
	})
}

func TestFullSocket_TakesMoreWhenItHasRoom(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		piece := bytes.Repeat([]byte("abcdefgh"), 1<<12)
		var sent int
		for {
			n, err := s.Write(piece)
			sent += n
			if errors.Is(err, ErrAgain) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Arm(s, token, Readable|Writable); err != nil {
			t.Fatal(err)
		}
		got := make(chan int, 1)
		go func() {
			n, _ := io.Copy(io.Discard, far)
			got <- int(n)
		}()
		await(t, p, func(e Event) bool { return e.Token == token && e.Writable })
		n, err := s.Write([]byte("last"))
		if n != 4 || err != nil {
			t.Fatalf("wrote %d of 4: %v", n, err)
		}
		s.Close()
		if n := <-got; n != sent+4 {
			t.Errorf("the other side got %d bytes of %d", n, sent+4)
		}
	})
}

func TestUnarmedSocket_IsQuietUntilArmedAgain(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		if err := p.Arm(s, token, 0); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan struct{})
		go func() { fmt.Fprint(far, "x"); close(wrote) }()
		<-wrote
		events := make([]Event, 8)
		if n, err := p.Wait(events, time.Now().Add(30*time.Millisecond), nil); n != 0 || err != nil {
			t.Fatalf("unarmed, but %d events: %v", n, err)
		}
		if err := p.Arm(s, token, Readable); err != nil {
			t.Fatal(err)
		}
		await(t, p, readable(token))
		s.Close()
	})
}

func TestDetachedSocket_IsAnOrdinaryConnection(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		go fmt.Fprint(far, "hello")
		await(t, p, readable(token))
		c, err := p.Detach(s)
		if err != nil {
			t.Fatal(err)
		}
		c = Ahead(c, []byte("> "))
		c.SetDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 7)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "> hello" {
			t.Fatalf("read %q, %v", buf, err)
		}
		go fmt.Fprint(c, "bye")
		if _, err := io.ReadFull(far, buf[:3]); err != nil || string(buf[:3]) != "bye" {
			t.Fatalf("the other side read %q, %v", buf[:3], err)
		}
		c.Close()
	})
}

func TestWake_EndsAWait(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 1000 {
		looked := make(chan struct{})
		go func() {
			<-looked
			p.Wake()
		}()
		// Whoever leaves something after the owner has looked sees that it sleeps, and wakes it.
		until := time.Now().Add(20 * time.Second)
		if n, err := p.Wait(make([]Event, 1), until, func() bool { close(looked); return true }); n != 0 || err != nil {
			t.Fatalf("woken with %d events: %v", n, err)
		}
		if time.Now().After(until) {
			t.Fatal("the wake-up was lost")
		}
	}
}

func TestWait_KeepsItsTime(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now()
	if _, err := p.Wait(make([]Event, 1), start.Add(20*time.Millisecond), nil); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("returned after %v", d)
	}
}

func TestIdleDescriptors_NeedNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are polled on Linux only")
	}
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	before := runtime.NumGoroutine()
	var ends []func()
	for i := range 200 {
		a, far := transports()[0].pair(t)
		s, err := p.Add(a, Token(i))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, func() { s.Close(); far.Close() })
	}
	if n := runtime.NumGoroutine() - before; n > 0 {
		t.Errorf("200 idle sockets take %d goroutines", n)
	}
	for _, end := range ends {
		end()
	}
}

func TestRefuse_AnswersAndCloses(t *testing.T) {
	for _, tr := range transports() {
		t.Run(tr.name, func(t *testing.T) {
			l := Wrap(new(net.TCPListener)) // of nothing: only its answers are wanted
			a, far := tr.pair(t)
			defer far.Close()
			written := make(chan struct{})
			go func() {
				defer close(written)
				fmt.Fprint(far, "GET /ws HTTP/1.1\r\n\r\n")
			}()
			if tr.name == transports()[0].name {
				<-written // what is refused without waiting has to have come
			}
			l.Refuse(a, []byte(full))
			if b, err := io.ReadAll(far); err != nil || string(b) != full {
				t.Errorf("read %q, %v", b, err)
			}
			<-written
			l.Close()
		})
	}
}

func TestRefuse_WaitsForNobody(t *testing.T) {
	l := Wrap(new(net.TCPListener))
	for range 3 * refusalsMax { // more than are answered at a time, and none of them says anything
		near, far := net.Pipe()
		defer far.Close()
		l.Refuse(FromConn(near), []byte(full))
	}
	began := time.Now()
	l.Close()
	if took := time.Since(began); took > 2*refusalTime {
		t.Errorf("they held the listener up for %v", took)
	}
}

// Writes that come while the one before is on its way neither overtake nor overwrite it.
func TestManySmallWrites_ArriveInOrder(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		const total = 20_000
		wrong := make(chan error, 1)
		go func() {
			got := make([]byte, 4)
			for i := range uint32(total) {
				if _, err := io.ReadFull(far, got); err != nil || binary.BigEndian.Uint32(got) != i {
					wrong <- fmt.Errorf("the %d-th is %x: %v", i, got, err)
					return
				}
			}
			wrong <- nil
		}()
		for i := range uint32(total) {
			for b := binary.BigEndian.AppendUint32(nil, i); len(b) > 0; {
				n, err := s.Write(b)
				if b = b[n:]; errors.Is(err, ErrAgain) {
					_ = p.Arm(s, token, Writable)
					await(t, p, func(e Event) bool { return e.Writable })
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if i%3 == 0 {
				runtime.Gosched()
			}
		}
		if err := <-wrong; err != nil {
			t.Error(err)
		}
		s.Close()
	})
}

// A socket whose other end is gone says so although nobody asked, for it would be announced for ever.
func TestBrokenSocket_IsToldWithoutInterest(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only descriptors are announced again and again")
	}
	l, err := Listen(context.Background(), "127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]Accepted, 1)
	if _, err := l.Accept(batch); err != nil {
		t.Fatal(err)
	}
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Add(batch[0], 7)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Arm(s, 7, 0)
	_ = far.(*net.TCPConn).SetLinger(0) // a reset
	far.Close()
	await(t, p, func(e Event) bool { return e.Broken })
	s.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestEmptyWrite_DoesNotStopWhatFollows(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, _ Token, far net.Conn) {
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			for _, part := range []string{"a", "", "b"} { // to a pipe the empty one is a write like any other
				_, _ = far.Write([]byte(part))
			}
		}()
		var got []byte
		events, buf := make([]Event, 8), make([]byte, 8)
		for deadline := time.Now().Add(5 * time.Second); string(got) != "ab"; {
			if time.Now().After(deadline) {
				t.Fatalf("read %q, want %q", got, "ab")
			}
			if _, err := p.Wait(events, deadline, nil); err != nil {
				t.Fatal(err)
			}
			if n, err := s.Read(buf); err == nil {
				got = append(got, buf[:n]...)
			}
		}
		<-wrote
		s.Close()
	})
}
