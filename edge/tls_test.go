package edge_test

import (
	"crypto/tls"
	"net"
	"net/http/httptest"
	"testing"
	"time"
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
