package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// key verifies tokens of the algorithms that it is pinned to.
type key struct {
	id         string // kid; empty: it has none, and is tried for any
	algorithms []string
	value      any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// newKey pins a key to those of the allowed algorithms that it is good for.
func newKey(id string, value any, allowed []string) (key, error) {
	fit, err := AlgorithmsOf(value)
	if err != nil {
		return key{}, err
	}
	pinned := slices.DeleteFunc(slices.Clone(fit), func(a string) bool { return len(allowed) > 0 && !slices.Contains(allowed, a) })
	if len(pinned) == 0 {
		return key{}, fmt.Errorf("a key for %s, of which none is allowed here", strings.Join(fit, " "))
	}
	return key{id: id, algorithms: pinned, value: value}, nil
}

// matches tells whether the key may verify a token with that alg and kid.
func (k key) matches(algorithm, id string) bool {
	return slices.Contains(k.algorithms, algorithm) && (id == "" || k.id == "" || k.id == id)
}

// secretKey reads a file that holds one secret.
func secretKey(content []byte, allowed []string) ([]key, error) {
	if bytes.HasPrefix(content, []byte("-----BEGIN ")) {
		return nil, errors.New("is PEM, and no secret: it belongs among the files of keys")
	}
	secret := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	k, err := newKey("", secret, allowed)
	if err != nil {
		return nil, err
	}
	return []key{k}, nil
}

// pemKeys reads a file of public keys and certificates.
func pemKeys(content []byte, allowed []string) ([]key, error) {
	var keys []key
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			// A file that is half written ends within a block, and must not pass for a shorter one.
			if bytes.Contains(rest, []byte("-----BEGIN ")) {
				return nil, errors.New("ends within a PEM block")
			}
			break
		}
		value, err := publicKey(block)
		if err != nil {
			return nil, err
		}
		k, err := newKey("", value, allowed)
		if err != nil {
			return nil, err
		}
		if keys = append(keys, k); len(keys) > maxLocalKeys {
			return nil, fmt.Errorf("holds more than %d keys", maxLocalKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("holds no PEM block (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, nil
}

// publicKey reads one PEM block. A certificate stands for its key; who signed it and until when it is good is not looked at.
func publicKey(block *pem.Block) (any, error) {
	var value any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		value, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		value, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			value = certificate.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("holds a private key, which has no business here: `openssl pkey -pubout` writes the public one")
	default:
		return nil, fmt.Errorf("holds a PEM block %q, which is neither a public key nor a certificate", clip(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("a broken %s: %w", strings.ToLower(block.Type), err)
	}
	return value, nil
}
