package edge

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Clients over HTTP that neither say what they began nor take what they asked for do not stay.
func TestWeb_HasItsEndOfPatience(t *testing.T) {
	page := bytes.Repeat([]byte("x"), 1<<20)
	for name, c := range map[string]struct {
		says, reads string // before it does nothing more
		most        time.Duration
	}{
		"half a request":                 {"GET / HTTP/1.1\r\nHost: localhost\r\n", "", 10 * time.Second},
		"a body that never comes":        {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", "", bodyWait},
		"a chunk that never comes":       {"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "", bodyWait},
		"an answer that nobody takes":    {"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n", "", writeWait},
		"an answer that is taken partly": {"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK", writeWait},
		"no second request":              {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK\r\n", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb(&net.TCPAddr{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/page" {
						_, _ = w.Write(page)
					}
				}), slog.New(slog.DiscardHandler))
				served := make(chan error, 1)
				go func() { served <- w.run() }()
				near, far := net.Pipe()
				closed := make(chan struct{})
				began := time.Now()
				w.take(far, netip.Addr{}, func() { close(closed) })
				if _, err := io.WriteString(near, c.says); err != nil {
					t.Fatal(err)
				}
				if c.reads != "" {
					if answer, err := bufio.NewReaderSize(near, 512).Peek(len(c.reads)); err != nil || !strings.HasPrefix(string(answer), c.reads) {
						t.Fatalf("got %q, %v", answer, err)
					}
				}
				if strings.HasPrefix(c.says, "POST") { // it takes its answer
					go func() { _, _ = io.Copy(io.Discard, near) }()
				}
				select {
				case <-closed:
				case <-time.After(time.Hour):
					t.Error("it is let stay")
				}
				if took := time.Since(began); took > c.most+time.Second {
					t.Errorf("it was let stay for %v", took)
				}
				near.Close()
				w.stop(time.Second)
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
