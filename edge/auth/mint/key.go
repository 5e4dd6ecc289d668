package mint

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidings/edge/auth"
)

// Key signs tokens.
type Key struct {
	value      any      // []byte or a private key
	algorithms []string // those that it can sign with, the usual one first
}

// NewKey makes a fresh key for an algorithm, as the content of files: private to sign with, and public to verify with. A secret
// is both, and has no public part.
func NewKey(algorithm string) (private, public []byte, err error) {
	var signer crypto.Signer
	switch {
	case !slices.Contains(auth.Algorithms, algorithm):
		return nil, nil, fmt.Errorf("%q is none of %s", algorithm, strings.Join(auth.Algorithms, " "))
	case algorithm[:2] == "HS":
		secret := make([]byte, 48) // 64 letters: enough for each of the three
		_, _ = rand.Read(secret)   // it never fails
		return append([]byte(base64.RawURLEncoding.EncodeToString(secret)), '\n'), nil, nil
	case algorithm[:2] == "RS" || algorithm[:2] == "PS":
		signer, err = rsa.GenerateKey(rand.Reader, 3072)
	case algorithm == "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		signer, err = ecdsa.GenerateKey(map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm], rand.Reader)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("write a private key: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("write a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), nil
}

// ReadKey reads a private key in PEM, or else a secret, at whose end a line end is not part of it.
func ReadKey(content []byte) (Key, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		secret := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
		algorithms, err := auth.AlgorithmsOf(secret)
		return Key{secret, algorithms}, err
	}
	var value any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		value, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		value, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		value, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
		return Key{}, errors.New("holds a public key, which cannot sign: name the private one")
	default:
		return Key{}, fmt.Errorf("holds a PEM block %q, which is no private key that can be read", block.Type)
	}
	if err != nil {
		return Key{}, fmt.Errorf("a broken %s: %w", strings.ToLower(block.Type), err)
	}
	signer, ok := value.(crypto.Signer)
	if !ok {
		return Key{}, errors.New("holds a key that cannot sign")
	}
	algorithms, err := auth.AlgorithmsOf(signer.Public())
	return Key{value, algorithms}, err
}
