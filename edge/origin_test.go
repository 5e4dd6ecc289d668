package edge

import (
	"regexp"
	"strings"
	"testing"
)

func TestOrigins_AreThoseOfTheHostOrNamed(t *testing.T) {
	list := origins{"app.example.org", "dev.example.org:3000", "*.example.net"}
	for _, c := range []struct {
		origin, host string
		want         bool
	}{
		{"https://tidings.example.org", "tidings.example.org", true},
		{"https://tidings.example.org", "TIDINGS.example.org", true},
		{"https://tidings.example.org", "tidings.example.org:443", true}, // some proxies add it
		{"https://tidings.example.org:443", "tidings.example.org:443", true},
		{"http://tidings.example.org", "tidings.example.org:443", false},
		{"http://tidings.example.org:8080", "tidings.example.org:8080", true},
		{"http://tidings.example.org:8080", "tidings.example.org", false},
		{"http://tidings.example.org", "tidings.example.org:8080", false},
		{"http://[::1]:8080", "[::1]:8080", true},
		{"http://[::1]", "[::1]", true},
		{"http://127.0.0.1/", "127.0.0.1", true},
		{"https://app.example.org", "edge-1:8080", true},
		{"https://app.example.org:8443", "edge-1:8080", true},
		{"http://dev.example.org:3000", "edge-1:8080", true},
		{"http://dev.example.org:3001", "edge-1:8080", false},
		{"https://a.b.example.net", "edge-1:8080", true},
		{"https://example.net", "edge-1:8080", false},
		{"https://evilexample.net", "edge-1:8080", false},
		{"https://app.example.org.evil", "edge-1:8080", false},
		{"https://app.example.org@evil", "edge-1:8080", false},
		{"https://evil@app.example.org", "edge-1:8080", false},
		{"https://evil/app.example.org", "edge-1:8080", false},
		{"https://evil#.example.net", "edge-1:8080", false},
		{"https://evil?.example.net", "edge-1:8080", false},
		{"https://app.example.org#", "edge-1:8080", false},
		{"app.example.org", "app.example.org", false},
		{"null", "null", false},
		{"https://", "", false},
		{"https://*", "edge-1:8080", false},
		{"", "edge-1:8080", true},
	} {
		if got := list.allow(c.origin, c.host); got != c.want {
			t.Errorf("a page of %q at %q: %v", c.origin, c.host, got)
		}
	}
}

func TestOrigins_Any_VouchesForNone(t *testing.T) {
	list := origins{"*", "app.example.org"}
	for origin, vouched := range map[string]bool{
		"":                        false, // a browser says where its page is from
		"null":                    false,
		"https://*":               false,
		"https://evil":            false,
		"https://app.example.org": true,
		"https://tidings":         true,
	} {
		if !list.allow(origin, "tidings") {
			t.Errorf("%q may not connect", origin)
		}
		if got := list.vouch(origin, "tidings"); got != vouched {
			t.Errorf("a cookie that comes with %q: %v", origin, got)
		}
	}
}

// FuzzOrigins holds what is let in against a plain reading of what an origin is.
func FuzzOrigins(f *testing.F) {
	for _, s := range []string{"https://app.example.org", "https://x.example.net:1", "http://tidings:8080", "https://a@tidings:8080", "null", "https://tidings:8080\\@x", "//x.example.net"} {
		f.Add(s)
	}
	list := origins{"app.example.org", "*.example.net"}
	plain := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#@]*?)(:[0-9]*)?/?$`)
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || !list.allow(s, "tidings:8080") {
			return
		}
		m := plain.FindStringSubmatch(s)
		if m == nil {
			t.Fatalf("%q is no origin", s)
		}
		name := strings.ToLower(m[1])
		if name != "app.example.org" && !strings.HasSuffix(name, ".example.net") && (name != "tidings" || m[2] != ":8080") {
			t.Fatalf("%q was let in as %q", s, name)
		}
		if !list.vouch(s, "tidings:8080") {
			t.Fatalf("%q may connect, and its cookie may not", s)
		}
	})
}
