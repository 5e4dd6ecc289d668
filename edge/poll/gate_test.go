package poll

import (
	"net"
	"runtime"
	"testing"
	"time"
)

func TestRest_TellsOfSocketsAfterwards(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are polled on Linux only")
	}
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		defer s.Close()
		if s.stream != nil {
			t.Skip("a stream has no rest")
		}
		rest := func(d time.Duration) {
			t.Helper()
			if err := p.Rest(time.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
		}
		events := make([]Event, 8)
		rest(time.Hour)
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Wait(events, time.Now().Add(10*time.Millisecond), nil); n != 0 || err != nil {
			t.Fatalf("%d events in a rest: %v", n, err)
		}
		looked, until := make(chan struct{}), time.Now().Add(20*time.Second)
		go func() { <-looked; p.Wake() }()
		if n, err := p.Wait(events, until, func() bool { close(looked); return true }); n != 0 || err != nil {
			t.Fatalf("woken in a rest with %d events: %v", n, err)
		}
		if time.Now().After(until) {
			t.Error("the wake-up was lost")
		}
		over := time.Now().Add(30 * time.Millisecond)
		rest(30 * time.Millisecond)
		await(t, p, readable(token))
		if time.Now().Before(over) {
			t.Error("told before the rest was over")
		}
	})
}

// Whatever comes while an owner works, rests or sleeps is told of at once, or right after the rest.
func TestWait_MissesNothingAroundRests(t *testing.T) {
	each(t, func(t *testing.T, p *Poller, s Socket, token Token, far net.Conn) {
		defer s.Close()
		go func() {
			b := make([]byte, 8)
			for {
				n, err := far.Read(b)
				if err != nil {
					return
				}
				if n == 2 {
					time.Sleep(3 * time.Millisecond) // so that it sleeps by then
				}
				if _, err := far.Write(b[:n]); err != nil {
					return
				}
			}
		}()
		events := make([]Event, 8)
		for i := range 300 {
			if i%3 == 0 {
				if err := p.Rest(time.Now().Add(2 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			if i%5 == 0 {
				if err := p.Arm(s, token, 0); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Write(make([]byte, 1+i%2)); err != nil {
				t.Fatal(err)
			}
			if i%7 == 0 {
				if _, err := p.Wait(events, time.Now().Add(time.Millisecond), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Arm(s, token, Readable); err != nil {
				t.Fatal(err)
			}
			for left, b := 1+i%2, make([]byte, 8); left > 0; {
				await(t, p, readable(token))
				n, err := s.Read(b)
				if err != nil && err != ErrAgain {
					t.Fatal(err)
				}
				left -= max(n, 0)
			}
		}
	})
}
