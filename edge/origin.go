package edge

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// origins decides which pages may connect. Browsers put the page's origin into each WebSocket handshake and send cookies along
// with it, whatever page it is (cross-site WebSocket hijacking), so this check is all that stands between a client's session and a
// page of somebody else. What is no browser sends no Origin, or any.
type origins []string

// allow reports whether a page of this origin may connect to the host that its browser asked for. Without an Origin it is no page.
func (list origins) allow(origin, host string) bool {
	if origin == "" {
		return true
	}
	return list.any() || list.vouch(origin, host)
}

// vouch is allow for requests whose token is a cookie: the browser adds that by itself, so the page has to be named, or be the
// host's own. No origin will not do, nor will "*".
func (list origins) vouch(origin, host string) bool {
	o, ok := parseOrigin(origin)
	if !ok {
		return false
	}
	if o.of(host) {
		return true
	}
	return slices.ContainsFunc(list, o.named)
}

// any reports whether all pages are let in.
func (list origins) any() bool { return slices.Contains(list, anyOrigin) }

// names reports whether a host is one of the list, whatever its port.
func (list origins) names(host string) bool {
	o := origin{name: strings.ToLower(hostname(host))}
	return list.any() || slices.ContainsFunc(list, func(entry string) bool {
		name, _, err := net.SplitHostPort(entry)
		return o.named(entry) || (err == nil && o.named(name))
	})
}

// rebound reports whether a request may come from a page whose name somebody points at this machine for a moment (DNS rebinding):
// to the browser the edge is then the page's own host, and no Origin tells. It matters where reaching an edge is all that it takes
// to read from it: one without tokens that listens on this machine alone. Such an edge goes by addresses and by localhost, and by
// what its operator names in origins. What a trusted proxy says of the host is the proxy's to answer for.
func (e *Edge) rebound(host string) bool {
	if !e.local {
		return false
	}
	name := hostname(host)
	_, err := netip.ParseAddr(name)
	return err != nil && !strings.EqualFold(name, "localhost") && !strings.HasSuffix(strings.ToLower(name), ".localhost") && !e.origins.names(host)
}

// reboundAdvice is what a client is told who calls an open edge of this machine by another name.
const reboundAdvice = "an edge without tokens goes by its address or localhost, so that no page of another site can have it read out; the " +
	"operator can add this host to origins, or have tokens asked for (auth)"

// hostname is a Host header without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// anyOrigin, in place of a host, lets all pages in.
const anyOrigin = "*"

// validOrigin reports whether a string can stand in a list of origins: a host with or without its port, *.domain, or *.
func validOrigin(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	return s == anyOrigin || (s != "" && !strings.ContainsAny(s, "/*@ "))
}

// originAdvice is what a page of another site is told, and by it the operator.
const originAdvice = "a page of another site may not connect; the operator can add the page's host to origins, or, if it is this site's behind a " +
	"proxy, have the proxy pass the Host header on, or send X-Forwarded-Host and be named in trusted_proxies"

// origin is where a page comes from, without the scheme: a proxy on the way may have taken the TLS off.
type origin struct {
	name string // in lower case; an IPv6 address without its brackets
	port string // as written, or the usual one of the scheme
	bare bool   // it was not written
}

// parseOrigin takes an Origin header apart: scheme://host[:port] and nothing else (RFC 6454 §6.2), but for the slash that some
// programs put behind it. "null", which browsers send for sandboxed pages and files, is none.
func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") {
		return origin{}, false
	}
	o := origin{name: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.bare = o.port == ""; o.bare {
		o.port = usualPort(u.Scheme)
	}
	return o, true
}

// of reports whether a page is one of the host that a request went to, which names its port unless that is the scheme's usual one.
func (o origin) of(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil { // it names none
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ""
	}
	if !strings.EqualFold(name, o.name) {
		return false
	}
	return port == o.port || (port == "" && o.bare)
}

// named reports whether an entry of a list of origins means this one: host, host:port, or *.domain for all below it.
func (o origin) named(entry string) bool {
	if domain, below := strings.CutPrefix(entry, "*."); below {
		name, ok := strings.CutSuffix(o.name, "."+strings.ToLower(domain))
		return ok && name != ""
	}
	return entry != anyOrigin && (strings.EqualFold(entry, o.name) || strings.EqualFold(entry, net.JoinHostPort(o.name, o.port)))
}

func usualPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
