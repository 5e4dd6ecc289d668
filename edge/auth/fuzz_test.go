package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/bus"
)

// judge holds what is true of every answer of Verify.
func judge(t *testing.T, v *Verifier, token string, s *Session, err error) {
	t.Helper()
	kinds := 0
	for _, kind := range []error{ErrInvalid, ErrExpired, ErrUnavailable} {
		if errors.Is(err, kind) {
			kinds++
		}
	}
	switch {
	case err != nil && (s != nil || kinds != 1 || reasonOf(err) == ""):
		t.Fatalf("got %v with %d kinds of error: %v", s, kinds, err)
	case err != nil:
		for segment := range strings.SplitSeq(token, ".") {
			if len(segment) > 12 && strings.Contains(err.Error(), segment[:12]) {
				t.Fatalf("the error repeats the token: %v", err)
			}
		}
		if len(err.Error()) > 512 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("the error is not fit for a log: %q", err)
		}
		return
	}
	for _, p := range s.Subscribe {
		if _, err := bus.ParsePattern(string(p)); err != nil {
			t.Fatalf("granted %q: %v", p, err)
		}
	}
	for _, p := range s.Act {
		if _, err := ParseActPattern(string(p)); err != nil {
			t.Fatalf("granted %q: %v", p, err)
		}
	}
	if n := len(s.Subscribe) + len(s.Act); n > v.cfg.MaxGrants {
		t.Fatalf("granted %d patterns", n)
	}
	if s.Expires.IsZero() || time.Since(s.Expires) > v.cfg.Leeway || len(s.Subject) > maxSubject {
		t.Fatalf("took %+v", s)
	}
}

// Whatever a stranger sends, nothing is taken that was not signed with a key of ours. The tokens are the same in each process that
// fuzzes, all but the signature of ES256, which differs each time: of that one the text before it is known.
func FuzzVerify(f *testing.F) {
	v := verifier(f, all(f))
	good := map[string]bool{}
	for _, algorithm := range []string{"HS256", "ES256", "EdDSA"} {
		token := sign(f, algorithm, signer(algorithm), jwt.MapClaims{"exp": int64(9999999999)})
		if algorithm == "ES256" {
			good[signedText(token)] = true
		} else {
			good[token] = true
		}
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(strings.Repeat(token, 2))
	}
	for _, s := range []string{"", ".", "..", "...", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "bearer x", "\x00.\xff.é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		s, err := v.Verify(t.Context(), token)
		if s != nil && !good[token] && !good[signedText(token)] {
			t.Fatalf("took what nobody made: %+v", s)
		}
		judge(t, v, token, s, err)
	})
}

// signedText is what the signature of a token is over (RFC 7515, section 5.1).
func signedText(token string) string {
	return token[:max(strings.LastIndexByte(token, '.'), 0)]
}

// Whatever an issuer signs, a session has valid grants and nothing breaks.
func FuzzVerify_Signed(f *testing.F) {
	v := verifier(f, Config{Secret: secret, RoleClaim: "a.role", Roles: map[string]Grant{"user": {Subscribe: []string{"users.{sub}.>"}}}})
	for _, claims := range []string{
		`{"exp":9999999999,"sub":"ada","tidings":{"subscribe":["metrics.>"],"act":["a.b.c"]},"a":{"role":"user"}}`,
		`{"exp":9999999999,"a.role":["user",1]}`, `{"exp":1e400}`, `{"exp":-1}`, `{"exp":9999999999,"sub":null}`, `{"exp":9999999999,"sub":{}}`,
		`{"exp":9999999999,"tidings":{"subscribe":["a..b"]}}`, `{"exp":9999999999,"iss":["x"],"aud":7,"nbf":"x"}`, `[]`, `null`, ``, `{`, `{"a":{"a":{"a":{}}}}`,
	} {
		f.Add(`{"alg":"HS256"}`, claims)
		f.Add(`{"alg":"HS256","kid":"../\n\u0000","crit":[]}`, claims)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		token := text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		s, err := v.Verify(t.Context(), token)
		judge(t, v, token, s, err)
	})
}

func FuzzParseJWKS(f *testing.F) {
	for _, body := range []string{
		`{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","use":"sig","alg":"EdDSA"}]}`, `{"keys":null}`, `[]`, `{`,
		`{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB","x5u":"http://127.0.0.1:1/","x5c":["MIIB"]}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseJWKS(body, nil, slog.New(slog.DiscardHandler))
		usable(t, keys, err)
	})
}

func FuzzPEM(f *testing.F) {
	good := publicPEM(f, signers()["ES256"])
	f.Add(good)
	f.Add(bytes.Repeat(good, 3))
	f.Add(good[:40])
	f.Add(certificate(f, signers()["EdDSA"]))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := pemKeys(content, nil)
		usable(t, keys, err)
	})
}

// usable holds that there are keys or an error, and that each key is public and pinned.
func usable(t *testing.T, keys []key, err error) {
	t.Helper()
	if (err == nil) != (len(keys) > 0) {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, k := range keys {
		fit, err := AlgorithmsOf(k.value)
		if _, isSecret := k.value.([]byte); err != nil || isSecret || len(k.algorithms) == 0 || len(k.algorithms) > len(fit) {
			t.Fatalf("took %+v: %v", k, err)
		}
	}
}
