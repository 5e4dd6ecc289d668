//go:build linux

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/bus/bustest"
)

// certify writes a certificate for 127.0.0.1 and its key into files, and returns what a client needs to trust it.
func certify(t testing.TB) (cert, key string, trusting *tls.Config) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	pemCert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, content := range map[string][]byte{cert: pemCert, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusting = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	trusting.RootCAs.AppendCertsFromPEM(pemCert)
	return cert, key, trusting
}

// price is what an edge costs its machine.
type price struct {
	connect float64 // CPU of a connection with five subscriptions, microseconds
	idle    float64 // memory of it, bytes
	deliver float64 // CPU of a delivery of 512 bytes, microseconds
}

// TLS in the edge has a price, which edge/TLS.md quotes from what this prints.
func TestTLS_HasItsPrice(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures")
	}
	const clients, messages = 1000, 200
	server := bustest.New(t)
	cert, key, trusting := certify(t)
	measure := func(env []string, secure func(net.Conn) net.Conn) (p price) {
		e := launchEdge(t, server, env)
		warm := dialMember(t, e, secure, []string{"price.all"})
		defer warm.conn.Close()
		cpu := func() float64 { return metric(t, e.admin, "process_cpu_seconds_total") }
		memory := metric(t, e.admin, "process_resident_memory_bytes")
		before := cpu()
		all := make([]*member, clients)
		for i := range all {
			all[i] = dialMember(t, e, secure, []string{"price.all", "price.1", "price.2", "price.3", "price.4"})
			defer all[i].conn.Close()
		}
		p.connect = (cpu() - before) / clients * 1e6
		p.idle = (metric(t, e.admin, "process_resident_memory_bytes") - memory) / clients

		before = cpu()
		result := make(chan error, clients)
		for _, m := range all {
			go func() { result <- m.expect(messages, time.Now().Add(2*patience)) }()
		}
		conn, pad := line(t, server), strings.Repeat("x", 490)
		for n := 1; n <= messages; n++ {
			publish(t, conn, "price.all", fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, pad))
			time.Sleep(10 * time.Millisecond) // nothing to batch: each delivery is a write
		}
		for range clients {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
		p.deliver = (cpu() - before) / (clients * messages) * 1e6
		if code := e.stop(); code != 0 {
			t.Errorf("the edge ended with %d", code)
		}
		return p
	}
	plain := measure(nil, func(c net.Conn) net.Conn { return c })
	secure := measure([]string{"TIDINGS_TLS_CERT=" + cert, "TIDINGS_TLS_KEY=" + key}, func(c net.Conn) net.Conn { return tls.Client(c, trusting) })
	t.Logf("plain: %.0f µs to connect, %.0f bytes idle, %.2f µs to deliver", plain.connect, plain.idle, plain.deliver)
	t.Logf("TLS:   %.0f µs to connect, %.0f bytes idle, %.2f µs to deliver", secure.connect, secure.idle, secure.deliver)
	if secure.idle > 100_000 {
		t.Errorf("an idle connection costs %.0f bytes", secure.idle)
	}
	if secure.deliver > 20*plain.deliver {
		t.Errorf("a delivery costs %.2f µs, and %.2f without TLS", secure.deliver, plain.deliver)
	}
}

// dialMember connects one client of a crowd.
func dialMember(t testing.TB, e edge, secure func(net.Conn) net.Conn, topics []string) *member {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address(e.socket), patience)
	if err != nil {
		t.Fatal(err)
	}
	conn = secure(conn)
	m := &member{conn: conn, in: bufio.NewReaderSize(conn, 1<<10)}
	if err := m.join(address(e.socket), topics); err != nil {
		t.Fatal(err)
	}
	m.in = nil
	_ = conn.SetDeadline(time.Time{})
	return m
}
