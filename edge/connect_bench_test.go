package edge_test

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/edge"
	"tidings/edge/auth"
)

// algorithms are those whose price is measured, and a key of each.
func algorithms(b *testing.B) map[string]crypto.Signer {
	b.Helper()
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return map[string]crypto.Signer{"RS256": rs, "ES256": es, "EdDSA": ed}
}

// tokenOf makes a token as applications have them, and an edge's means to verify it; no token for "none".
func tokenOf(b *testing.B, algorithm string, key crypto.Signer) (token string, takes func(*edge.Config)) {
	b.Helper()
	if algorithm == "none" {
		return "", func(*edge.Config) {}
	}
	cfg := auth.Config{Secret: secret}
	signer := any([]byte(secret))
	if key != nil {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			b.Fatal(err)
		}
		file := filepath.Join(b.TempDir(), "key.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			b.Fatal(err)
		}
		cfg, signer = auth.Config{KeyFiles: []string{file}}, key
	}
	v, err := auth.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	token, err = jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims{
		"sub": "ada@example.org", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"tidings": map[string]any{"subscribe": []string{"metrics.>", "containers.>", "container-events.>"}, "act": []string{"*.*.restart"}},
	}).SignedString(signer)
	if err != nil {
		b.Fatal(err)
	}
	return token, func(cfg *edge.Config) { cfg.Verifier = v }
}

// BenchmarkConnect is a client that connects, is greeted, and hangs up, client and edge together: what tokens cost is the
// difference to "none".
func BenchmarkConnect(b *testing.B) {
	keys := algorithms(b)
	for _, algorithm := range []string{"none", "HS256", "ES256", "EdDSA", "RS256"} {
		b.Run(algorithm, func(b *testing.B) {
			n, ask := door(b, algorithm, keys[algorithm])
			b.ReportAllocs()
			for b.Loop() {
				knock(b, n, ask).Close()
			}
		})
	}
}

// BenchmarkConnected is the memory of an idle connection, client and edge together: what a session takes is the difference to
// "none".
func BenchmarkConnected(b *testing.B) {
	const most = 4000 // there are only so many descriptors
	for _, algorithm := range []string{"none", "HS256"} {
		b.Run(algorithm, func(b *testing.B) {
			n, ask := door(b, algorithm, nil)
			knock(b, n, ask) // whatever is there once is there after this one
			before := heap()
			open := 0
			for b.Loop() {
				conn := knock(b, n, ask)
				if open == most {
					conn.Close()
					continue
				}
				open++
			}
			b.ReportMetric(float64(heap()-before)/float64(open), "B/conn")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func door(b *testing.B, algorithm string, key crypto.Signer) (n *node, ask []byte) {
	b.Helper()
	token, takes := tokenOf(b, algorithm, key)
	headers := []string{}
	if token != "" {
		headers = append(headers, "Authorization: Bearer "+token)
	}
	return newCluster(b).edge(takes), []byte(request("/ws", headers...))
}

// knock connects and waits for the greeting.
func knock(b *testing.B, n *node, ask []byte) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", n.host)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(ask); err != nil {
		b.Fatal(err)
	}
	in := bufio.NewReaderSize(conn, 1024)
	for { // to the end of the answer's head, behind which the greeting comes in the same packet
		line, err := in.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if line == "\r\n" {
			return conn
		}
	}
}
