package edge

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"tidings/edge/poll"
)

// TLS has an edge speak TLS itself. Where a load balancer in front can, let that: here an idle connection costs some 35 KB, and a
// delivery its encryption (TLS.md). The zero value is none.
type TLS struct {
	Cert       string        // PEM file: the certificate, and those between it and its authority
	Key        string        // PEM file: its key
	ClientCA   string        // PEM file: the authorities of clients' certificates; empty: clients need none
	ClientCert string        // of a client, with ClientCA: "required", which is the default, or "optional"
	MinVersion string        // "1.2", which is the default, or "1.3"
	Reload     time.Duration // the files are looked at so often; default 10 s
}

// The words of TLS.
const (
	ClientCertRequired = "required"
	ClientCertOptional = "optional"
	MinVersion12       = "1.2"
	MinVersion13       = "1.3"
)

// ErrTLS is New's error when the files of Config.TLS cannot be used.
var ErrTLS = errors.New("TLS")

// on reports whether there is to be TLS at all.
func (t TLS) on() bool { return t != TLS{} }

func (t TLS) withDefaults() TLS {
	if t.on() {
		def(&t.ClientCert, ClientCertRequired)
		def(&t.MinVersion, MinVersion12)
		def(&t.Reload, 10*time.Second)
	}
	return t
}

func (t TLS) validate(fault func(format string, args ...any)) {
	if !t.on() {
		return
	}
	if t.Cert == "" {
		fault("TLS.Cert: missing; TLS needs the file of a certificate")
	}
	if t.Key == "" {
		fault("TLS.Key: missing; TLS needs the file of the certificate's key")
	}
	switch t.ClientCert {
	case "", ClientCertRequired, ClientCertOptional:
	default:
		fault("TLS.ClientCert: %q is neither required nor optional", t.ClientCert)
	}
	switch t.MinVersion {
	case "", MinVersion12, MinVersion13:
	default:
		fault("TLS.MinVersion: %q is neither 1.2 nor 1.3", t.MinVersion)
	}
	if t.Reload != 0 && (t.Reload < 10*time.Millisecond || t.Reload > 24*time.Hour) {
		fault("TLS.Reload: %v is outside 10ms to 24h", t.Reload)
	}
}

// secure puts TLS over a listener, and before that what a trusted proxy announces.
func (e *Edge) secure(l net.Listener) net.Listener {
	s := &secureListener{Listener: l, config: e.keyring.config()}
	if e.cfg.ProxyProtocol {
		s.announce = func(c net.Conn) net.Conn {
			if e.proxies.trust(poll.FromConn(c).Peer()) {
				return &announcedConn{Conn: c}
			}
			return c
		}
	}
	return s
}

// secureListener makes TLS of what it accepts. A handshake begins with the first read, which is the connection's own goroutine's, so that
// a slow one holds nobody up; the time for it is part of HandshakeTimeout.
type secureListener struct {
	net.Listener
	config   *tls.Config
	announce func(net.Conn) net.Conn // what comes before TLS (proxyheader.go); nil: nothing
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.announce != nil {
		c = l.announce(c)
	}
	return tls.Server(c, l.config), nil
}
