package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidings/edge"
	"tidings/edge/wire"
)

// announce is a PROXY header for a client.
func announce(client string) string { return "PROXY TCP4 " + client + " 10.0.0.1 52100 443\r\n" }

func TestProxyProtocol_CountsConnectionsByTheirClients(t *testing.T) {
	ca := newAuthority(t)
	c := newCluster(t)
	speaking := func(cfg *edge.Config) {
		cfg.TrustedProxies, cfg.ProxyProtocol, cfg.Limits.ConnectionsPerAddress = []string{"127.0.0.1", "10.0.0.0/8"}, true, 1
	}
	over := func(n *node, secure bool, header, request string) *http.Response {
		t.Helper()
		conn := n.tcp()
		if _, err := fmt.Fprint(conn, header); err != nil {
			t.Fatal(err)
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{RootCAs: ca.pool, ServerName: "127.0.0.1"})
		}
		if _, err := fmt.Fprint(conn, request); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
			n := c.edge(speaking, func(cfg *edge.Config) {
				if secure {
					ca.secured(t.TempDir())(cfg)
				}
				cfg.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
			})
			for _, client := range []string{"198.51.100.1", "198.51.100.2"} {
				if r := over(n, secure, announce(client), handshake); r.StatusCode != 101 {
					t.Fatal(r.Status)
				}
				refused(t, over(n, secure, announce(client), handshake), 429, wire.TooManyRequests)
			}
			// A proxy before the proxy says by a header for whom it asks.
			if r := over(n, secure, announce("10.0.0.7"), from("198.51.100.3", handshake)); r.StatusCode != 101 {
				t.Fatal(r.Status)
			}
			refused(t, over(n, secure, announce("198.51.100.3"), handshake), 429, wire.TooManyRequests)
			n.expectStruck("connections_per_address", 3)
			// Health checks speak for the proxy alone.
			for range 3 {
				if r := over(n, secure, "PROXY UNKNOWN\r\n", handshake); r.StatusCode != 101 {
					t.Fatal(r.Status)
				}
			}
			// Pages know whose request it is too.
			page := over(n, secure, announce("198.51.100.9"), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			body, _ := bufio.NewReader(page.Body).ReadString('\n')
			if !strings.HasPrefix(body, "198.51.100.9:") {
				t.Errorf("a page was asked for by %s", body)
			}
		})
	}
}

func TestProxyProtocol_IsForTrustedProxies_AndForThemAMust(t *testing.T) {
	c := newCluster(t)
	off := c.edge()
	strange := c.edge(func(cfg *edge.Config) { cfg.TrustedProxies, cfg.ProxyProtocol = []string{"10.0.0.1"}, true })
	on := c.edge(func(cfg *edge.Config) {
		cfg.TrustedProxies, cfg.ProxyProtocol, cfg.HandshakeTimeout = []string{"127.0.0.1"}, true, 300*time.Millisecond
	})
	binary := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x01\x0a\x00\x00\x01\xcb\x84\x01\xbb"
	for _, n := range []*node{off, strange} {
		for _, header := range []string{announce("198.51.100.1"), binary} {
			refused(t, n.ask(t, header+handshake), 400, wire.BadRequest)
		}
		n.dial() // directly
	}
	refused(t, on.ask(t, handshake), 400, wire.BadRequest)
	refused(t, on.ask(t, "PROXY nonsense\r\n"+handshake), 400, wire.BadRequest)
	refused(t, on.ask(t, "PROXY TCP4 198.51"), 408, wire.BadRequest)
	for _, header := range []string{announce("198.51.100.1"), binary} {
		request := header + handshake
		for _, cut := range []int{len(request), 3, len(header) - 1, len(header), len(header) + 1} { // in two pieces
			conn := on.tcp()
			before := on.value("tidings_edge_received_bytes_total")
			fmt.Fprint(conn, request[:cut])
			eventually(t, "the first piece", func() bool { return on.value("tidings_edge_received_bytes_total") == before+float64(cut) })
			fmt.Fprint(conn, request[cut:])
			if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != 101 {
				t.Errorf("cut at %d: %v, %v", cut, r, err)
			}
			conn.Close()
		}
	}
}
