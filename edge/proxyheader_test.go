package edge

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// proxyV2Header is a header of version 2.
func proxyV2Header(command, family byte, addresses string) string {
	n := len(addresses)
	return string(proxyV2) + string([]byte{0x20 | command, family, byte(n >> 8), byte(n)}) + addresses
}

const fourAddresses = "\xc6\x33\x64\x01\x0a\x00\x00\x01\xcb\x84\x01\xbb" // 198.51.100.1:52100 to 10.0.0.1:443

var sixAddresses = string(netip.MustParseAddr("2001:db8::1").AsSlice()) + string(netip.MustParseAddr("2001:db8::2").AsSlice()) + "\xcb\x84\x01\xbb"

func TestProxyHeader_SaysWhoseAConnectionIs(t *testing.T) {
	for _, c := range []struct {
		header string
		client string // empty: nobody's
		bad    bool
	}{
		{"PROXY TCP4 198.51.100.1 10.0.0.1 52100 443\r\n", "198.51.100.1", false},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 52100 443\r\n", "2001:db8::1", false},
		{"PROXY UNKNOWN\r\n", "", false},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", false},
		{proxyV2Header(1, 0x11, fourAddresses), "198.51.100.1", false},
		{proxyV2Header(1, 0x11, fourAddresses+"\x04\x00\x01\x00"), "198.51.100.1", false}, // and something more (TLV)
		{proxyV2Header(1, 0x21, sixAddresses), "2001:db8::1", false},
		{proxyV2Header(0, 0x00, ""), "", false},            // a health check
		{proxyV2Header(0, 0x11, fourAddresses), "", false}, // of the proxy's own
		{proxyV2Header(1, 0x00, ""), "", false},
		{proxyV2Header(1, 0x31, strings.Repeat("x", 216)), "", false},

		{"GET /ws HTTP/1.1\r\n\r\n", "", true},
		{"PROXY\r\n", "", true},
		{"PROXY \r\n", "", true},
		{"PROXY TCP4\r\n", "", true},
		{"PROXY TCP4 198.51.100.1 10.0.0.1 52100\r\n", "", true},
		{"PROXY TCP4 198.51.100.1 10.0.0.1 99999 443\r\n", "", true},
		{"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "", true},
		{"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "", true},
		{"PROXY TCP4 example.org 10.0.0.1 1 2\r\n", "", true},
		{"PROXY UDP4 198.51.100.1 10.0.0.1 1 2\r\n", "", true},
		{"PROXY " + strings.Repeat("x", 200), "", true},
		{string(proxyV2) + "\x11\x11\x00\x0c" + fourAddresses, "", true}, // version 1 in binary
		{proxyV2Header(2, 0x11, fourAddresses), "", true},
		{proxyV2Header(1, 0x11, fourAddresses[:11]), "", true},
		{proxyV2Header(1, 0x21, fourAddresses), "", true},
		{string(proxyV2) + "\x21\x11\xff\xff", "", true}, // longer than we take
	} {
		want, _ := netip.ParseAddr(c.client)
		client, n, err := parseProxyHeader([]byte(c.header + "GET /"))
		if (err != nil) != c.bad || (err == nil && (client != want || n != len(c.header))) {
			t.Errorf("%q: %v, %d bytes, %v", c.header, client, n, err)
		}
		for i := range len(c.header) {
			if c.bad {
				break
			}
			if _, n, err := parseProxyHeader([]byte(c.header[:i])); n != 0 || err != nil {
				t.Fatalf("%q is complete after %d bytes: %d, %v", c.header, i, n, err)
			}
		}
	}
}

// bytesConn is a connection from which bytes come, from a proxy.
type bytesConn struct {
	net.Conn
	io.Reader
}

func (c bytesConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
func (bytesConn) RemoteAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9} }

// FuzzProxyHeader: in front of TLS or not, in one piece or byte by byte, it reads the same; and takes nothing that follows.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 198.51.100.1 10.0.0.1 52100 443\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte(proxyV2Header(1, 0x21, sixAddresses) + "\x16\x03\x01"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		client, n, err := parseProxyHeader(data)
		if n < 0 || n > len(data) || n > proxyV2Max || (err != nil && n != 0) {
			t.Fatalf("%d bytes of %d, %v", n, len(data), err)
		}
		for _, r := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data))} {
			c := &announcedConn{Conn: bytesConn{Reader: r}}
			rest, rerr := io.ReadAll(c)
			switch {
			case (rerr == nil) != (n > 0 || (err == nil && n == 0)):
				t.Fatalf("parsed with %v, read with %v", err, rerr)
			case n > 0 && !bytes.Equal(rest, data[n:]):
				t.Fatalf("%q follows, and %q was read", data[n:], rest)
			case n == 0 && len(rest) > 0:
				t.Fatalf("%q was read behind no header", rest)
			}
			at := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
			if client.IsValid() && at != client || !client.IsValid() && at != netip.MustParseAddr("10.0.0.1") {
				t.Fatalf("it is %v's, and said to be %v's", client, at)
			}
		}
	})
}
