package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func TestQuiet_ReadsLikeTheConnectionItself(t *testing.T) {
	near, far := dialled(t, DialOptions{})
	q := Quiet(near)
	buf := make([]byte, 8)
	if n, err := q.Read(nil); n != 0 || err != nil {
		t.Errorf("read into nothing: %d, %v", n, err)
	}
	fmt.Fprint(far, "hello")
	if _, err := io.ReadFull(q, buf[:5]); err != nil || string(buf[:5]) != "hello" {
		t.Fatalf("read %q, %v", buf[:5], err)
	}

	if err := q.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := q.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read after the deadline: %v", err)
	}
	if err := q.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}

	// One that waits is woken by what comes.
	got := make(chan string, 1)
	go func() {
		n, err := q.Read(buf)
		got <- fmt.Sprintf("%s %v", buf[:n], err)
	}()
	fmt.Fprint(far, "again")
	if s := <-got; s != "again <nil>" {
		t.Errorf("read %q", s)
	}

	fmt.Fprint(q, "there")
	if n, err := far.Read(buf); err != nil || string(buf[:n]) != "there" {
		t.Errorf("the other end read %q, %v", buf[:n], err)
	}
	far.Close()
	if n, err := q.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
}

func TestQuiet_ReadEndsWhenTheConnectionDoes(t *testing.T) {
	near, _ := dialled(t, DialOptions{})
	q := Quiet(near)
	ended := make(chan error, 1)
	go func() {
		_, err := q.Read(make([]byte, 1))
		ended <- err
	}()
	q.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read while it was closed ended with %v", err)
	}

	near, far := dialled(t, DialOptions{})
	q = Quiet(near)
	if err := far.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	far.Close()
	if _, err := q.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a read of what the other end reset: %v", err)
	}
}

func TestQuiet_CarriesTLS(t *testing.T) {
	const long = 100_000
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", long))
	}))
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := Dial(ctx, address, DialOptions{})
		if err != nil {
			return nil, err
		}
		return Quiet(c), nil
	}
	r, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || len(body) != long {
		t.Errorf("%d bytes came: %v", len(body), err)
	}
}

func TestQuiet_LeavesOtherConnectionsAlone(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if Quiet(a) != a {
		t.Error("a pipe was wrapped")
	}
}

func TestQuiet_ReadAllocatesNothing(t *testing.T) {
	near, far := dialled(t, DialOptions{})
	q := Quiet(near)
	buf := make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := far.Write(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a read", n)
	}
}
