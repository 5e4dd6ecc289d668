package auth

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
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signers are a private key for each kind, made once: RSA keys take their time. All but RSA's are the same in each process,
// so that the processes that fuzz take each other's tokens.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	curve := func(c elliptic.Curve) crypto.Signer {
		return must(ecdsa.ParseRawPrivateKey(c, bytes.Repeat([]byte{1}, (c.Params().BitSize+7)/8)))
	}
	return map[string]crypto.Signer{
		"RS": must(rsa.GenerateKey(rand.Reader, minRSABits)), "ES256": curve(elliptic.P256()), "ES384": curve(elliptic.P384()),
		"ES512": curve(elliptic.P521()), "EdDSA": ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)),
	}
})

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// signer is the private key for an algorithm, or the secret.
func signer(algorithm string) any {
	switch algorithm[:2] {
	case "HS":
		return []byte(secret)
	case "RS", "PS":
		return signers()["RS"]
	}
	return signers()[algorithm]
}

// publicPEM writes the public key for an algorithm as a file would have it.
func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// write makes a file with that content.
func write(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// all verifies with a key of each kind.
func all(t testing.TB) Config {
	t.Helper()
	cfg := Config{Secret: secret}
	for _, name := range sortedKeys(signers()) {
		cfg.KeyFiles = append(cfg.KeyFiles, write(t, publicPEM(t, signers()[name])))
	}
	return cfg
}

func TestVerify_TakesEachAlgorithm(t *testing.T) {
	v := verifier(t, all(t))
	for _, algorithm := range Algorithms {
		token := sign(t, algorithm, signer(algorithm), nil)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		for what, broken := range map[string]string{
			"another signature":    sign(t, algorithm, signer(algorithm), jwt.MapClaims{"sub": "eve"}),
			"no signature":         token[:strings.LastIndexByte(token, '.')+1],
			"a signature of zeros": token[:strings.LastIndexByte(token, '.')+1] + strings.Repeat("A", len(token)-strings.LastIndexByte(token, '.')-1),
		} {
			mixed := token[:strings.LastIndexByte(token, '.')] + broken[strings.LastIndexByte(broken, '.'):]
			if _, err := v.Verify(t.Context(), mixed); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s with %s: %v", algorithm, what, err)
			}
		}
	}
}

func TestVerify_TakesTheAllowedAlgorithmsAlone(t *testing.T) {
	cfg := all(t)
	cfg.Algorithms = []string{"HS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"}
	v := verifier(t, cfg)
	for _, algorithm := range Algorithms {
		_, err := v.Verify(t.Context(), sign(t, algorithm, signer(algorithm), nil))
		if want := slices.Contains(cfg.Algorithms, algorithm); (err == nil) != want {
			t.Errorf("%s: %v", algorithm, err)
		}
		if err != nil && reasonOf(err) != reasonAlgorithm {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func reasonOf(err error) reason {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return ""
}

// What an attacker has is the public key, and the freedom to write any header.
func TestConfusion_APublicKeyIsNoSecret(t *testing.T) {
	rsaKey := signers()["RS"]
	der := must(x509.MarshalPKIXPublicKey(rsaKey.Public()))
	pkcs1 := x509.MarshalPKCS1PublicKey(rsaKey.Public().(*rsa.PublicKey))
	file := publicPEM(t, rsaKey)
	v := verifier(t, Config{KeyFiles: []string{write(t, file)}})
	for name, bytes := range map[string][]byte{
		"the PEM file": file, "without its last line end": file[:len(file)-1], "its DER": der, "its PKCS1": pkcs1,
		"nothing": {}, "PEM of PKCS1": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
	} {
		for _, algorithm := range []string{"HS256", "HS384", "HS512"} {
			if _, err := v.Verify(t.Context(), sign(t, algorithm, bytes, nil)); reasonOf(err) == "" || reasonOf(err) == reasonSignature {
				t.Errorf("%s with %s as the secret: %v", algorithm, name, err)
			}
		}
	}
}

func TestConfusion_NoneIsNoAlgorithm(t *testing.T) {
	cfg := all(t)
	for _, v := range []*Verifier{verifier(t, cfg), verifier(t, Config{KeyFiles: cfg.KeyFiles}), verifier(t, Config{Secret: secret})} {
		good := sign(t, "HS256", []byte(secret), nil)
		parts := strings.Split(good, ".")
		for _, name := range []string{"none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "RS1", "HS1", "ES256K", "A128KW", "dir"} {
			header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + name + `","typ":"JWT"}`))
			for _, signature := range []string{"", parts[2]} {
				if _, err := v.Verify(t.Context(), header+"."+parts[1]+"."+signature); reasonOf(err) != reasonAlgorithm {
					t.Errorf("alg %q: %v", name, err)
				}
			}
		}
		for _, header := range []string{`{}`, `{"alg":null}`, `{"alg":["HS256"]}`, `{"alg":7}`, `null`, `[]`, `"HS256"`} {
			token := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + parts[2]
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) {
				t.Errorf("header %s: %v", header, err)
			}
		}
		unsigned := must(jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"exp": 1 << 33}).SignedString(jwt.UnsafeAllowNoneSignatureType))
		if _, err := v.Verify(t.Context(), unsigned); reasonOf(err) != reasonAlgorithm {
			t.Errorf("alg none, as made: %v", err)
		}
	}
}

// A signature of the right length by a key of the wrong curve.
func TestConfusion_ACurveHasItsOwnAlgorithm(t *testing.T) {
	for _, curve := range []string{"ES256", "ES384", "ES512"} {
		v := verifier(t, Config{KeyFiles: []string{write(t, publicPEM(t, signers()[curve]))}})
		for _, other := range []string{"ES256", "ES384", "ES512", "EdDSA"} {
			_, err := v.Verify(t.Context(), sign(t, other, signer(other), nil))
			if other != curve && reasonOf(err) != reasonUnknownKey {
				t.Errorf("%s by a key for %s: %v", other, curve, err)
			}
		}
	}
}

// Headers that point to keys are not followed, and extensions that are demanded are not ignored.
func TestConfusion_AHeaderBringsNoKey(t *testing.T) {
	v := verifier(t, Config{KeyFiles: []string{write(t, publicPEM(t, signers()["RS"]))}})
	eve := must(rsa.GenerateKey(rand.Reader, minRSABits))
	n := base64.RawURLEncoding.EncodeToString(eve.N.Bytes())
	for name, header := range map[string]map[string]any{
		"jwk":                  {"jwk": map[string]any{"kty": "RSA", "n": n, "e": "AQAB"}},
		"jku":                  {"jku": "http://127.0.0.1:1/keys", "kid": "eve"},
		"x5u":                  {"x5u": "http://127.0.0.1:1/cert"},
		"x5c":                  {"x5c": []string{"MIIB"}},
		"kid that is a path":   {"kid": "../../../../dev/null"},
		"kid that is a query":  {"kid": "' UNION SELECT 'key"},
		"kid that is a number": {"kid": 7},
		"kid without end":      {"kid": strings.Repeat("k", 4000)},
	} {
		if _, err := v.Verify(t.Context(), signWith(t, "RS256", eve, header, nil)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(t.Context(), signWith(t, "RS256", signers()["RS"], map[string]any{"crit": []string{"b64"}, "b64": false}, nil)); reasonOf(err) != reasonMalformed {
		t.Errorf("crit: %v", err)
	}
	if _, err := v.Verify(t.Context(), signWith(t, "RS256", signers()["RS"], map[string]any{"kid": "any", "jku": "http://127.0.0.1:1/"}, nil)); err != nil {
		t.Errorf("our own key with names that lead nowhere: %v", err)
	}
}

func TestNew_RefusesKeysThatAreTooSmall(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	private := must(x509.MarshalPKCS8PrivateKey(signers()["RS"]))
	good := publicPEM(t, signers()["RS"])
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"a secret", Config{SecretFiles: []string{write(t, []byte(strings.Repeat("x", 31)+"\n"))}}, "the secret has 31 bytes, at least 32 are needed"},
		{"an empty file", Config{SecretFiles: []string{write(t, nil)}}, "the secret has 0 bytes"},
		{"a secret for its algorithm", Config{Secret: strings.Repeat("x", 40), Algorithms: []string{"HS512"}}, "Secret: a key for HS256, of which none is allowed here"},
		{"RSA", Config{KeyFiles: []string{write(t, publicPEM(t, small))}}, "the RSA key has 1024 bits, at least 2048 are needed"},
		{"a curve", Config{KeyFiles: []string{write(t, publicPEM(t, p224))}}, "the curve P-224 is none of"},
		{"a private key", Config{KeyFiles: []string{write(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}}, "holds a private key"},
		{"PEM as a secret", Config{SecretFiles: []string{write(t, good)}}, "belongs among the files of keys"},
		{"a secret as PEM", Config{KeyFiles: []string{write(t, []byte(secret))}}, "holds no PEM block"},
		{"half a key", Config{KeyFiles: []string{write(t, good[:len(good)/2])}}, "ends within a PEM block"},
		{"one and a half keys", Config{KeyFiles: []string{write(t, append(slices.Clone(good), good[:len(good)/2]...))}}, "ends within a PEM block"},
		{"a directory", Config{KeyFiles: []string{t.TempDir()}}, "is no regular file"},
		{"a large file", Config{SecretFiles: []string{write(t, make([]byte, maxFile+1))}}, "has more than 65536 bytes"},
		{"nothing", Config{}, "SecretFiles: no keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestNew_TellsAllFaultsAtOnce(t *testing.T) {
	_, err := New(Config{
		Secret: "short", JWKS: []JWKS{{URL: "ftp://x"}, {URL: "https://ada:x@login.example.org"}}, Algorithms: []string{"none"}, Leeway: 1e15,
		RoleClaim: "role", MaxTokenBytes: 1, MaxGrants: -1, JWKSTimeout: 1,
	})
	for _, want := range []string{"Secret: ", "JWKS: that is no URL", "JWKS: the URL of login.example.org has a user", "Algorithms: ", "Leeway: ", "Roles: ", "MaxTokenBytes: ", "MaxGrants: ", "JWKSTimeout: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// certificate writes a certificate of a key, signed by itself.
func certificate(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
