package edge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"tidings/edge"
)

// A page whose name is made to mean this machine is, to its browser, of the same host as the edge (DNS rebinding). An open edge that
// only this machine reaches is not to be read out so.
func TestOpenEdge_OfThisMachineGoesByNoOtherName(t *testing.T) {
	c := newCluster(t)
	c.publish("metrics.a", `{"n":1}`)
	n := c.edge(func(cfg *edge.Config) { cfg.Origins = []string{"app.example.org", "*.example.net:8443"} })
	_, port, _ := strings.Cut(n.host, ":")
	for _, x := range []struct {
		host string
		ok   bool
	}{
		{n.host, true}, {"localhost:" + port, true}, {"LOCALHOST", true}, {"tidings.localhost:" + port, true}, {"[::1]:" + port, true}, {"127.0.0.1", true},
		{"app.example.org:" + port, true}, {"a.example.net", true}, {"evil.example", false}, {"evil.example:" + port, false},
		{"127.0.0.1.evil.example:" + port, false}, {"localhost.evil.example", false}, {"example.net", false},
	} {
		answer := n.ask(t, "GET /last?topic=metrics.a HTTP/1.1\r\nHost: "+x.host+"\r\nConnection: close\r\n\r\n")
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		refused := answer.StatusCode == http.StatusForbidden && strings.Contains(string(body), "forbidden_origin")
		if read := answer.StatusCode == http.StatusOK; read != x.ok || refused == x.ok {
			t.Errorf("GET /last of %s: %d %s", x.host, answer.StatusCode, body)
		}
		page := n.ask(t, "GET /ws HTTP/1.1\r\nHost: "+x.host+"\r\nOrigin: http://"+x.host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if in := page.StatusCode == http.StatusSwitchingProtocols; in != x.ok {
			t.Errorf("a page of %s: %d", x.host, page.StatusCode)
		}
	}
}
