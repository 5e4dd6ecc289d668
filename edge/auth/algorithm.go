package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"slices"
)

// Algorithms are those that a token may be signed with (RFC 7518 §3.1, RFC 8037 §3.1). "none" is not among them, and never is.
var Algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// Sizes below which a key is refused, and above which one costs too much to verify with.
const (
	minSecret  = 32   // bytes
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 8192
)

func isAlgorithm(name string) bool { return slices.Contains(Algorithms, name) }

// AlgorithmsOf lists what a key is good for. That is decided by what the key is, and never by a token: so an RSA public key
// cannot pass as the secret of an HMAC. The error says why a key is good for nothing.
func AlgorithmsOf(key any) ([]string, error) {
	switch key := key.(type) {
	case []byte:
		// A key is at least as long as the hash's output (RFC 7518 §3.2).
		switch n := len(key); {
		case n >= 64:
			return []string{"HS256", "HS384", "HS512"}, nil
		case n >= 48:
			return []string{"HS256", "HS384"}, nil
		case n >= minSecret:
			return []string{"HS256"}, nil
		default:
			return nil, fmt.Errorf("the secret has %d bytes, at least %d are needed (64 for HS512, 48 for HS384): `tidings token key` makes one", n, minSecret)
		}
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case bits < minRSABits:
			return nil, fmt.Errorf("the RSA key has %d bits, at least %d are needed", bits, minRSABits)
		case bits > maxRSABits:
			return nil, fmt.Errorf("the RSA key has %d bits, at most %d are allowed", bits, maxRSABits)
		case key.E < 3 || key.E%2 == 0:
			return nil, fmt.Errorf("the RSA key has an exponent that is none")
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		switch curve := key.Curve.Params().Name; curve {
		case "P-256":
			return []string{"ES256"}, nil
		case "P-384":
			return []string{"ES384"}, nil
		case "P-521":
			return []string{"ES512"}, nil
		default:
			return nil, fmt.Errorf("the curve %s is none of P-256, P-384, P-521", curve)
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("a key that is neither RSA, elliptic curve nor Ed25519")
}
