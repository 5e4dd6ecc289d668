package edge_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidings/edge"
)

// listenTLS opens a listener with a certificate for tests.
func listenTLS(t *testing.T) net.Listener {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: s.TLS.Certificates})
}

func dialTLS(t *testing.T, host string) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true}) // the certificate is of no authority
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	var der []byte
	der, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, time.Hour)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign issues a certificate with a key of its own; the first one signs itself.
func (a *authority) sign(c *x509.Certificate, life time.Duration) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-2*time.Hour), time.Now().Add(life)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// pair issues a certificate for 127.0.0.1, or for a client, as PEM.
func (a *authority) pair(name string, life time.Duration) (cert, key []byte) {
	a.t.Helper()
	der, private := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, life)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pem is the authority's own certificate.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// client is the configuration of a client that trusts the authority.
func (a *authority) client() *tls.Config { return &tls.Config{RootCAs: a.pool} }

// as has a client show a certificate of a name.
func (a *authority) as(name string, to *tls.Config) *tls.Config {
	a.t.Helper()
	cert, key := a.pair(name, time.Hour)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	to.Certificates = []tls.Certificate{pair}
	return to
}

// write puts a file there in one step.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// secured configures TLS with a certificate of the authority in files of a directory.
func (a *authority) secured(dir string) func(*edge.Config) {
	a.t.Helper()
	cert, key := a.pair("first", time.Hour)
	write(a.t, filepath.Join(dir, "tls.crt"), cert)
	write(a.t, filepath.Join(dir, "tls.key"), key)
	return func(cfg *edge.Config) {
		cfg.TLS = edge.TLS{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), Reload: 10 * time.Millisecond}
	}
}

// secure connects by TLS.
func (n *node) secure(config *tls.Config) (*tls.Conn, error) {
	n.t.Helper()
	conn, err := tls.Dial("tcp", n.host, config)
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return conn, nil
}

// shown is the name on the certificate that new connections are shown.
func (n *node) shown(config *tls.Config) string {
	n.t.Helper()
	conn, err := n.secure(config)
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// greeted upgrades a connection and takes the greeting.
func (n *node) greeted(conn net.Conn) *peer {
	n.t.Helper()
	p := n.peerOn(conn)
	p.send([]byte(handshake))
	p.switched()
	p.expectType("connected")
	return p
}

func TestTLS_ServesSocketsAndPages(t *testing.T) {
	c, ca := newCluster(t), newAuthority(t)
	n := c.edge(ca.secured(t.TempDir()), func(cfg *edge.Config) {
		cfg.Pages = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	})
	conn, err := n.secure(ca.client())
	if err != nil {
		t.Fatal(err)
	}
	p := n.greeted(conn)
	p.subscribe(1, "orders.a")
	c.publish("orders.a", `{"n":1}`)
	p.expectType("orders")

	web := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client(), ForceAttemptHTTP2: true}}
	defer web.CloseIdleConnections()
	r, err := web.Get("https://" + n.host + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if string(body) != "page" || r.Proto != "HTTP/1.1" {
		t.Errorf("%s %q", r.Proto, body)
	}
	if _, err := n.secure(&tls.Config{}); err == nil {
		t.Error("somebody trusts the certificate of a test")
	}
}

func TestTLS_NegotiatesVersionAndProtocol(t *testing.T) {
	c, ca := newCluster(t), newAuthority(t)
	n := c.edge(ca.secured(t.TempDir()))
	newer := c.edge(ca.secured(t.TempDir()), func(cfg *edge.Config) { cfg.TLS.MinVersion = edge.MinVersion13 })
	with := func(most uint16, protocols ...string) *tls.Config {
		config := ca.client()
		config.MinVersion, config.MaxVersion, config.NextProtos = tls.VersionTLS10, most, protocols
		return config
	}
	for _, h := range []struct {
		node *node
		most uint16
		ok   bool
	}{
		{n, tls.VersionTLS11, false}, {n, tls.VersionTLS12, true}, {n, tls.VersionTLS13, true},
		{newer, tls.VersionTLS12, false}, {newer, tls.VersionTLS13, true},
	} {
		conn, err := h.node.secure(with(h.most, "h2", "http/1.1"))
		if (err == nil) != h.ok {
			t.Errorf("%s at most: %v", tls.VersionName(h.most), err)
		}
		if err == nil && conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
			t.Errorf("agreed on %q", conn.ConnectionState().NegotiatedProtocol)
		}
	}
	if _, err := n.secure(with(tls.VersionTLS13, "h2")); err == nil {
		t.Error("HTTP/2 alone was accepted")
	}
}

func TestTLS_TakesANewCertificate_AndKeepsConnections(t *testing.T) {
	c, ca, dir := newCluster(t), newAuthority(t), t.TempDir()
	link := filepath.Join(dir, "current") // as Kubernetes lays out the files of a Secret
	generation := func(name string, life time.Duration) string {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := ca.pair(name, life)
		write(t, filepath.Join(sub, "tls.crt"), cert)
		write(t, filepath.Join(sub, "tls.key"), key)
		return sub
	}
	turn := func(to string) { // both files at once
		next := filepath.Join(dir, "next")
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, link); err != nil {
			t.Fatal(err)
		}
	}
	turn(generation("one", time.Hour))
	n := c.edge(func(cfg *edge.Config) {
		cfg.TLS = edge.TLS{Cert: filepath.Join(link, "tls.crt"), Key: filepath.Join(link, "tls.key"), Reload: 10 * time.Millisecond}
	})
	conn, err := n.secure(ca.client())
	if err != nil {
		t.Fatal(err)
	}
	old := n.greeted(conn)
	reloaded := func(result string) float64 {
		return n.value("tidings_edge_certificate_reloads_total", "result", result)
	}
	expires := n.value("tidings_edge_certificate_expiry_timestamp_seconds")
	if left := time.Until(time.Unix(int64(expires), 0)); left < 50*time.Minute || left > time.Hour {
		t.Errorf("the certificate expires in %v", left)
	}

	turn(generation("two", 2*time.Hour))
	eventually(t, "the second one is shown", func() bool { return n.shown(ca.client()) == "two" })
	if got := n.value("tidings_edge_certificate_expiry_timestamp_seconds"); got < expires+3500 {
		t.Errorf("the second one expires %v s after the first", got-expires)
	}
	if reloaded("ok") != 1 || reloaded("failed") != 0 {
		t.Errorf("%v reloads, %v failed", reloaded("ok"), reloaded("failed"))
	}

	// What does not work changes nothing, and is told once each.
	cert, key := ca.pair("three", time.Hour)
	at := func(name string) string { return filepath.Join(link, name) }
	for i, breakIt := range []func(){
		func() { write(t, at("tls.crt"), cert) },       // without its key
		func() { write(t, at("tls.crt"), cert[:100]) }, // half written
		func() { os.Remove(at("tls.crt")) },
		func() { turn(generation("expired", -time.Hour)) },
	} {
		breakIt()
		eventually(t, "the fault is noticed", func() bool { return reloaded("failed") == float64(i+1) })
		if got := n.shown(ca.client()); got != "two" {
			t.Errorf("%s is shown", got)
		}
	}
	write(t, at("tls.crt"), cert)
	eventually(t, "its certificate is noticed", func() bool { return reloaded("failed") == 5 })
	write(t, at("tls.key"), key)
	eventually(t, "the third one is shown", func() bool { return n.shown(ca.client()) == "three" })

	old.subscribe(1, "orders.a")
	if got := n.value("tidings_edge_connections"); got != 1 {
		t.Errorf("%v connections", got)
	}
}

func TestWithoutTLS_NoCertificateExpires(t *testing.T) {
	if got := newCluster(t).edge().value("tidings_edge_certificate_expiry_timestamp_seconds"); !math.IsInf(got, 1) {
		t.Errorf("one does at %v", got)
	}
}

func TestTLS_AsksForCertificatesOfClients(t *testing.T) {
	c, ca, other := newCluster(t), newAuthority(t), newAuthority(t)
	authorities := filepath.Join(t.TempDir(), "ca.crt")
	write(t, authorities, ca.pem())
	asking := func(how string) *node {
		return c.edge(ca.secured(t.TempDir()), func(cfg *edge.Config) { cfg.TLS.ClientCA, cfg.TLS.ClientCert = authorities, how })
	}
	// In TLS 1.3 a client learns of the refusal when it reads.
	letsIn := func(n *node, config *tls.Config) bool {
		conn, err := n.secure(config)
		if err != nil {
			return false
		}
		if _, err := io.WriteString(conn, handshake); err != nil {
			return false
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && r.StatusCode == 101
	}
	for how, without := range map[string]bool{"": false, edge.ClientCertRequired: false, edge.ClientCertOptional: true} {
		n := asking(how)
		if got := letsIn(n, ca.client()); got != without {
			t.Errorf("%q: a client without a certificate: %v", how, got)
		}
		if !letsIn(n, ca.as("machine", ca.client())) {
			t.Errorf("%q: a client with a certificate is not let in", how)
		}
		if letsIn(n, other.as("machine", ca.client())) {
			t.Errorf("%q: a client with a certificate of another authority is let in", how)
		}
	}
}

func TestTLS_NeedsWhatWorks(t *testing.T) {
	c, ca, dir := newCluster(t), newAuthority(t), t.TempDir()
	cert, _ := ca.pair("one", time.Hour)
	_, key := ca.pair("two", time.Hour)
	write(t, filepath.Join(dir, "cert"), cert)
	write(t, filepath.Join(dir, "key"), key)
	write(t, filepath.Join(dir, "empty"), nil)
	ca.secured(dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, config := range map[string]edge.TLS{
		"a key of another certificate": {Cert: in("cert"), Key: in("key")},
		"no such file":                 {Cert: in("none"), Key: in("key")},
		"no authority":                 {Cert: in("tls.crt"), Key: in("tls.key"), ClientCA: in("empty")},
		"no key":                       {Cert: in("tls.crt")},
		"no certificate":               {Key: in("tls.key")},
		"an old version":               {Cert: in("tls.crt"), Key: in("tls.key"), MinVersion: "1.1"},
		"another word":                 {Cert: in("tls.crt"), Key: in("tls.key"), ClientCert: "maybe"},
		"too often":                    {Cert: in("tls.crt"), Key: in("tls.key"), Reload: 1},
	} {
		if _, err := edge.New(edge.Config{Listen: "127.0.0.1:0", Bus: c.bus, Open: true, TLS: config}); err == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}

// Clients that begin a handshake and leave it at that are given handshake_timeout, hold no others up, and count as connections.
func TestTLS_HandshakesThatNeverEnd_TimeOut(t *testing.T) {
	c, ca := newCluster(t), newAuthority(t)
	n := c.edge(ca.secured(t.TempDir()), func(cfg *edge.Config) {
		cfg.HandshakeTimeout, cfg.Limits.Connections = 2*time.Second, 21
	})
	var silent []net.Conn
	for i := range 20 {
		conn := n.tcp()
		if i%2 == 0 { // the first bytes of a ClientHello
			fmt.Fprint(conn, "\x16\x03\x01\x02\x00\x01")
		}
		silent = append(silent, conn)
	}
	began := time.Now()
	conn, err := n.secure(ca.client())
	if err != nil {
		t.Fatal(err)
	}
	p := n.greeted(conn)
	if took := time.Since(began); took > time.Second {
		t.Errorf("a client had to wait %v for others' handshakes", took)
	}
	if conn, err := n.secure(ca.client()); err == nil { // there is no place left; that is said in TLS
		fmt.Fprint(conn, handshake)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != 503 {
			t.Errorf("got %v, %v", r, err)
		}
	} else {
		t.Error(err)
	}
	for _, conn := range silent {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("one was not closed: %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("they were given %v", took)
	}
	if got := n.struck("handshake_timeout"); got != 20 {
		t.Errorf("%v were counted", got)
	}
	p.subscribe(1, "orders.a")
	eventually(t, "their places are free", func() bool {
		conn, err := n.secure(ca.client())
		if err != nil {
			return false
		}
		defer conn.Close()
		fmt.Fprint(conn, handshake)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && r.StatusCode == 101
	})
}
