package edge

import (
	"net/http"
	"net/netip"
	"strings"
)

// proxies are the addresses of the load balancers in front of an edge, whose word about their clients is taken. What a header says
// of a client is whatever the client likes, unless a proxy that is known to set it has.
type proxies []netip.Prefix

// parseProxies reads addresses and networks; the ones that are neither come back as they were.
func parseProxies(list []string) (trusted proxies, wrong []string) {
	for _, s := range list {
		if network, err := netip.ParsePrefix(s); err == nil {
			trusted = append(trusted, network.Masked())
		} else if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			trusted = append(trusted, netip.PrefixFrom(addr, addr.BitLen()))
		} else {
			wrong = append(wrong, s)
		}
	}
	return trusted, wrong
}

// trust reports whether an address is a proxy's.
func (p proxies) trust(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// client is the address for which a peer speaks, by the X-Forwarded-For that came with a request. Each proxy on the way adds, on
// the right, whom it heard from, so the list is walked from there for as long as it was a trusted proxy that said so; whatever
// stands left of that the client may have made up. An entry that is no address ends the walk: who that was is not known.
func (p proxies) client(peer netip.Addr, forwardedFor string) netip.Addr {
	for p.trust(peer) && forwardedFor != "" {
		var last string
		if i := strings.LastIndexByte(forwardedFor, ','); i >= 0 {
			forwardedFor, last = forwardedFor[:i], forwardedFor[i+1:]
		} else {
			forwardedFor, last = "", forwardedFor
		}
		addr, ok := parseHop(strings.TrimSpace(last))
		if !ok {
			return peer
		}
		peer = addr
	}
	return peer
}

// parseHop reads an address as proxies write them: bare, or with a port, an IPv6 address then in brackets.
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		with, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = with.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// forwarded is what proxies wrote into a request about the client behind them.
type forwarded struct {
	clients   string // X-Forwarded-For, all of its lines
	hosts     string // X-Forwarded-Host
	forwarded string // Forwarded (RFC 7239)
}

// add takes a header in; the key is in its canonical form.
func (f *forwarded) add(key string, value []byte) {
	var field *string
	switch key {
	case "X-Forwarded-For":
		field = &f.clients
	case "X-Forwarded-Host":
		field = &f.hosts
	case "Forwarded":
		field = &f.forwarded
	default:
		return
	}
	if *field != "" { // lines of one name are one list (RFC 9110 §5.3)
		*field += ","
	}
	*field += string(value)
}

// host is the one that a browser asked a proxy for: what X-Forwarded-Host says, or the host of a Forwarded header (RFC 7239
// §5.3). Proxies that add to the one before them write behind it, so the first is the browser's. Empty: not said.
func (f *forwarded) host() string {
	if first, _, _ := strings.Cut(f.hosts, ","); strings.TrimSpace(first) != "" {
		return strings.TrimSpace(first)
	}
	first, _, _ := strings.Cut(f.forwarded, ",")
	for pair := range strings.SplitSeq(first, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "host") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// peer is the address that a request came from, be it a proxy's.
func (proxies) peer(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr().Unmap()
}

// sender is where an HTTP request comes from: the client's address, and the host that it asked for.
func (p proxies) sender(r *http.Request) (client netip.Addr, host string) {
	client, host = p.peer(r), r.Host
	if !p.trust(client) {
		return client, host
	}
	var f forwarded
	for _, key := range []string{"X-Forwarded-For", "X-Forwarded-Host", "Forwarded"} {
		for _, value := range r.Header[key] {
			f.add(key, []byte(value))
		}
	}
	if said := f.host(); said != "" {
		host = said
	}
	return p.client(client, f.clients), host
}
