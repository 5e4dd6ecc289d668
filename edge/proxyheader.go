package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tidings/edge/wire"
)

// A load balancer that passes bytes on without looking into them can say who its client is in front of those: the PROXY protocol,
// version 1 in text, version 2 in binary (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

// announced reads what a proxy says in front of a request about whose connection this is, and returns its length; false: there is
// nothing more to be done with the connection now. Who is no trusted proxy may not say so, and who is one has to, if it is to at all.
func (l *loop) announced(slot uint32, c *conn, data []byte) (n int, ok bool) {
	refuse := func(message string) (int, bool) {
		l.refuse(slot, c, refusal{status: http.StatusBadRequest, code: wire.BadRequest, result: handshakeBad, message: message})
		return 0, false
	}
	var client netip.Addr
	switch cfg := &l.node.cfg; {
	case !cfg.ProxyProtocol && isProxyHeader(data):
		return refuse("the PROXY protocol is not spoken here; the operator can switch on proxy_protocol, or off in the proxy")
	case isProxyHeader(data) && !l.node.proxies.trust(c.client):
		return refuse("only trusted proxies may speak the PROXY protocol; the operator can name this one in trusted_proxies")
	case !cfg.ProxyProtocol || !l.node.proxies.trust(c.client):
		c.announced = true
		return 0, true
	case cfg.TLS.on(): // it came before that (announcedConn)
		client = c.sock.RemoteAddr().Addr()
	default:
		var err error
		if client, n, err = parseProxyHeader(data); err != nil {
			return refuse("a trusted proxy has to speak the PROXY protocol here; the operator can switch it on in the proxy, or off by proxy_protocol")
		}
		if n == 0 {
			return 0, false
		}
	}
	if client.IsValid() && client != c.client {
		if r := l.node.door.admit(client, l.now); r != nil {
			l.refuse(slot, c, *r)
			return 0, false
		}
		c.client = client
	}
	c.announced = true
	return n, true
}

// proxyV2 begins a header of version 2, and nothing else on this port.
var proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")

// proxyV1 begins one of version 1.
var proxyV1 = []byte("PROXY ")

const (
	proxyV1Max = 107     // bytes of a header of version 1, its end included
	proxyV2Max = 4 << 10 // bytes of one of version 2, which may carry what we have no use for
)

var errProxyHeader = errors.New("malformed PROXY header")

// isProxyHeader reports whether data begins with a header, of either version.
func isProxyHeader(data []byte) bool {
	return bytes.HasPrefix(data, proxyV1) || bytes.HasPrefix(data, proxyV2)
}

// parseProxyHeader reads a header and returns its length; 0: it is not complete. The address is the client's; zero: the proxy speaks
// for itself, as in its health checks, or does not know.
func parseProxyHeader(data []byte) (client netip.Addr, n int, err error) {
	if len(data) < len(proxyV2) && (bytes.HasPrefix(proxyV2, data) || bytes.HasPrefix(proxyV1, data)) {
		return netip.Addr{}, 0, nil
	}
	switch {
	case bytes.HasPrefix(data, proxyV1):
		return parseProxyV1(data)
	case bytes.HasPrefix(data, proxyV2):
		return parseProxyV2(data)
	}
	return netip.Addr{}, 0, errProxyHeader
}

// parseProxyV1 reads PROXY TCP4|TCP6|UNKNOWN source destination port port CR LF.
func parseProxyV1(data []byte) (netip.Addr, int, error) {
	end := bytes.Index(data[:min(len(data), proxyV1Max)], []byte("\r\n"))
	if end < 0 {
		if len(data) >= proxyV1Max {
			return netip.Addr{}, 0, errProxyHeader
		}
		return netip.Addr{}, 0, nil
	}
	words := strings.Split(string(data[:end]), " ")
	if words[1] == "UNKNOWN" {
		return netip.Addr{}, end + 2, nil
	}
	if len(words) != 6 || (words[1] != "TCP4" && words[1] != "TCP6") {
		return netip.Addr{}, 0, errProxyHeader
	}
	client, err := netip.ParseAddr(words[2])
	if err != nil || client.Zone() != "" || client.Is4() != (words[1] == "TCP4") {
		return netip.Addr{}, 0, errProxyHeader
	}
	if _, err := strconv.ParseUint(words[4], 10, 16); err != nil {
		return netip.Addr{}, 0, errProxyHeader
	}
	return client.Unmap(), end + 2, nil
}

// parseProxyV2 reads the signature, version and command, family, length, and addresses.
func parseProxyV2(data []byte) (netip.Addr, int, error) {
	const head = 16
	if len(data) < head {
		return netip.Addr{}, 0, nil
	}
	command, family := data[12], data[13]
	n := head + int(binary.BigEndian.Uint16(data[14:]))
	if command>>4 != 2 || n > proxyV2Max {
		return netip.Addr{}, 0, errProxyHeader
	}
	if len(data) < n {
		return netip.Addr{}, 0, nil
	}
	addresses := data[head:n]
	switch {
	case command&0xf == 0: // LOCAL
		return netip.Addr{}, n, nil
	case command&0xf != 1: // PROXY
	case family>>4 == 1 && len(addresses) >= 12:
		return netip.AddrFrom4([4]byte(addresses)), n, nil
	case family>>4 == 2 && len(addresses) >= 36:
		return netip.AddrFrom16([16]byte(addresses)).Unmap(), n, nil
	case family>>4 == 0 || family>>4 == 3: // unspecified, or a Unix socket
		return netip.Addr{}, n, nil
	}
	return netip.Addr{}, 0, errProxyHeader
}

// announcedConn takes the header off the front of a connection, for TLS, which comes behind it. Its remote address is the client's
// once something was read.
type announcedConn struct {
	net.Conn
	client atomic.Pointer[net.TCPAddr]

	once sync.Once
	rest []byte // read with the header
	err  error
}

func (c *announcedConn) Read(b []byte) (int, error) {
	c.once.Do(c.header)
	if c.err != nil {
		return 0, c.err
	}
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *announcedConn) RemoteAddr() net.Addr {
	if client := c.client.Load(); client != nil {
		return client
	}
	return c.Conn.RemoteAddr()
}

// header reads until the header is complete. Its error stays: a deadline that has passed was the handshake's.
func (c *announcedConn) header() {
	buf := make([]byte, 0, 256)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		client, end, perr := parseProxyHeader(buf)
		switch {
		case perr != nil:
			c.err = perr
		case end > 0:
			if client.IsValid() {
				c.client.Store(&net.TCPAddr{IP: client.AsSlice()})
			}
			c.rest = buf[end:]
		case err != nil:
			c.err = err
		default:
			continue
		}
		return
	}
}
