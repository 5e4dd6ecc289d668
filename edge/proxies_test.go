package edge

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestProxies_ClientIsTheLastThatNoProxyIs(t *testing.T) {
	trusted, wrong := parseProxies([]string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32"})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for _, c := range []struct{ peer, header, want string }{
		{"10.1.1.1", "198.51.100.1", "198.51.100.1"},
		{"10.1.1.1", "198.51.100.1, 10.2.2.2", "198.51.100.1"},
		{"10.1.1.1", "203.0.113.9, 198.51.100.1,10.2.2.2 , 192.0.2.7", "198.51.100.1"},
		{"10.1.1.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"}, // made up by the client
		{"10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"},          // all are proxies
		{"10.1.1.1", "", "10.1.1.1"},
		{"10.1.1.1", "198.51.100.1, unknown", "10.1.1.1"},
		{"10.1.1.1", "198.51.100.1,", "10.1.1.1"},
		{"10.1.1.1", "198.51.100.1:52100", "198.51.100.1"},
		{"10.1.1.1", "[2001:db9::1]:52100", "2001:db9::1"},
		{"10.1.1.1", "[2001:db9::1]", "2001:db9::1"},
		{"10.1.1.1", "::ffff:198.51.100.1", "198.51.100.1"},
		{"2001:db8::1", "2001:db9::1%eth0", "2001:db9::1"},
		{"198.51.100.2", "203.0.113.9", "198.51.100.2"}, // it is not trusted
		{"192.0.2.8", "203.0.113.9", "192.0.2.8"},
	} {
		if got := trusted.client(netip.MustParseAddr(c.peer), c.header); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s with X-Forwarded-For %q speaks for %s, want %s", c.peer, c.header, got, c.want)
		}
	}
}

func TestProxies_AreAddressesOrNetworks(t *testing.T) {
	_, wrong := parseProxies([]string{"10.0.0.1/8", "::1", "example.org", "10.0.0.0/33", "fe80::1%eth0", ""})
	if got := strings.Join(wrong, " | "); got != "example.org | 10.0.0.0/33 | fe80::1%eth0 | " {
		t.Errorf("refused %q", got)
	}
}

func TestProxies_HostIsTheBrowsers(t *testing.T) {
	trusted, _ := parseProxies([]string{"10.0.0.0/8"})
	for _, c := range []struct {
		peer      string
		headers   map[string][]string
		want, who string
	}{
		{"10.0.0.1:80", nil, "edge-1", "10.0.0.1"},
		{"10.0.0.1:80", map[string][]string{"X-Forwarded-Host": {"app.example.org, inner"}}, "app.example.org", "10.0.0.1"},
		{"10.0.0.1:80", map[string][]string{"Forwarded": {`for=198.51.100.1;proto=https; Host="app.example.org:8443", host=inner`}}, "app.example.org:8443", "10.0.0.1"},
		{"10.0.0.1:80", map[string][]string{"X-Forwarded-For": {"1.1.1.1", "198.51.100.1, 10.0.0.2"}}, "edge-1", "198.51.100.1"},
		{"198.51.100.1:80", map[string][]string{"X-Forwarded-Host": {"evil"}, "Forwarded": {"host=evil"}, "X-Forwarded-For": {"1.1.1.1"}}, "edge-1", "198.51.100.1"},
		{"@", map[string][]string{"X-Forwarded-Host": {"evil"}}, "edge-1", "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/last", nil)
		r.Host, r.RemoteAddr, r.Header = "edge-1", c.peer, c.headers
		if client, host := trusted.sender(r); host != c.want || client.String() != c.who {
			t.Errorf("%s with %v: %s asks for %s, want %s for %s", c.peer, c.headers, client, host, c.who, c.want)
		}
	}
}

// FuzzForwarded: whatever a client writes in front of what the proxy adds, the address that the proxy added is the client's.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", ",", "127.0.0.1", "unknown, 10.0.0.1", "[::1]:80,,", "10.0.0.1\t"} {
		f.Add(s)
	}
	trusted, _ := parseProxies([]string{"10.0.0.0/8", "127.0.0.0/8"})
	proxy, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.1")
	f.Fuzz(func(t *testing.T, madeUp string) {
		for _, hops := range []string{"198.51.100.1", "198.51.100.1, 10.9.9.9"} {
			if got := trusted.client(proxy, madeUp+", "+hops); got != client {
				t.Fatalf("%q, %s: %v", madeUp, hops, got)
			}
		}
		if got := trusted.client(client, madeUp); got != client {
			t.Fatalf("%q of a stranger: %v", madeUp, got)
		}
		_ = trusted.client(proxy, madeUp)
		via := forwarded{forwarded: madeUp}
		_ = via.host()
	})
}
