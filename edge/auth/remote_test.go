package auth

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// issuer is a real HTTP server that publishes keys.
type issuer struct {
	*httptest.Server
	fetches atomic.Int32

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newIssuer(t testing.TB, answer http.HandlerFunc) *issuer {
	t.Helper()
	i := &issuer{answer: answer}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answers(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// jwk is a public key as an issuer publishes it, with its private fields changed by change.
func jwk(t testing.TB, kid string, key crypto.Signer, change ...func(*jwkset.JWKMarshal)) jwkset.JWKMarshal {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	m := made.Marshal()
	for _, f := range change {
		f(&m)
	}
	return m
}

// publishes answers with these keys.
func publishes(keys ...jwkset.JWKMarshal) http.HandlerFunc {
	body, err := json.Marshal(jwkset.JWKSMarshal{Keys: keys})
	return says(string(body), err)
}

func says(body string, err error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(body))
	}
}

func down(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }

// verify verifies a token of one of the issuer's keys.
func verify(t testing.TB, v *Verifier, algorithm, kid string, claims jwt.MapClaims) error {
	t.Helper()
	_, err := v.Verify(t.Context(), signWith(t, algorithm, signer(algorithm), map[string]any{"kid": kid}, claims))
	return err
}

// quick is an issuer's configuration whose fetches follow each other in no time.
func quick(url string) Config {
	return Config{JWKS: []JWKS{{URL: url}}, JWKSGap: time.Millisecond, JWKSTimeout: patience}
}

func TestJWKS_RotationIsFollowed(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	v := running(t, quick(i.URL))
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	i.answers(publishes(jwk(t, "2", signers()["ES256"]), jwk(t, "1", signers()["RS"])))
	eventually(t, "a token of the next key is good", func() bool { return verify(t, v, "ES256", "2", nil) == nil })
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Errorf("the last key, still published: %v", err)
	}
	i.answers(publishes(jwk(t, "3", signers()["EdDSA"])))
	eventually(t, "a token of the key after that is good", func() bool { return verify(t, v, "EdDSA", "3", nil) == nil })
	if err := verify(t, v, "RS256", "1", nil); reasonOf(err) != reasonUnknownKey {
		t.Errorf("a key that is no longer published: %v", err)
	}
}

func TestJWKS_RevocationIsNoticedWithoutBeingAsked(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	v := running(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSInterval: time.Millisecond, JWKSGap: time.Hour})
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	i.answers(publishes(jwk(t, "2", signers()["RS"])))
	eventually(t, "the old key is gone", func() bool { return reasonOf(verify(t, v, "RS256", "1", nil)) == reasonUnknownKey })
}

func TestJWKS_TheLastGoodKeysGoOn(t *testing.T) {
	good := publishes(jwk(t, "1", signers()["RS"]))
	i := newIssuer(t, good)
	cfg := quick(i.URL)
	cfg.JWKSInterval, cfg.JWKSTimeout = time.Millisecond, 50*time.Millisecond
	v := running(t, cfg)
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	for name, broken := range map[string]http.HandlerFunc{
		"down":              down,
		"no JSON":           says("<html>log in</html>", nil),
		"no keys":           says(`{"keys":[]}`, nil),
		"keys that are not": says(`{"keys":"none"}`, nil),
		"keys of no use":    says(`{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AAAA"},7]}`, nil),
		"without end":       says(`{"keys":[{"kty":"`+strings.Repeat("x", maxJWKSBytes), nil),
		"too large": func(w http.ResponseWriter, r *http.Request) {
			good(w, r)
			_, _ = w.Write([]byte(strings.Repeat(" ", maxJWKSBytes)))
		},
		"too many": says(`{"keys":[`+strings.Repeat(`{},`, maxJWKSKeys)+`{}]}`, nil),
		"slow": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		},
		"slower and slower": func(w http.ResponseWriter, r *http.Request) {
			for {
				_, _ = w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		},
	} {
		before := testutil.ToFloat64(v.metrics.fetchesFailed)
		i.answers(broken)
		eventually(t, name+" is noticed", func() bool { return testutil.ToFloat64(v.metrics.fetchesFailed) > before })
		if err := verify(t, v, "RS256", "1", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		i.answers(good)
		fetched := testutil.ToFloat64(v.metrics.fetches)
		v.shared[0].wish <- struct{}{} // not to wait for the time after a failure
		eventually(t, "the issuer is back after "+name, func() bool { return testutil.ToFloat64(v.metrics.fetches) > fetched })
	}
}

func TestJWKS_WithoutKeysNothingIsKnown(t *testing.T) {
	i := newIssuer(t, down)
	v := running(t, quick(i.URL))
	if err := verify(t, v, "RS256", "1", nil); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway") {
		t.Errorf("ready without keys: %v", err)
	}
	i.answers(publishes(jwk(t, "1", signers()["RS"])))
	eventually(t, "the issuer has come", func() bool { return verify(t, v, "RS256", "1", nil) == nil })
	if err := v.Ready(); err != nil {
		t.Error(err)
	}

	stopped := verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSTimeout: time.Millisecond})
	if err := verify(t, stopped, "RS256", "1", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("before Run: %v", err)
	}
}

// An edge without keys is not ready, so nobody comes whose token would ask for some: it has to ask by itself, and soon.
func TestJWKS_AnIssuerThatComesLateIsAskedAgain(t *testing.T) {
	i := newIssuer(t, down)
	v := running(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSInterval: time.Hour, JWKSGap: time.Hour})
	eventually(t, "the outage is noticed", func() bool { return testutil.ToFloat64(v.metrics.fetchesFailed) > 0 })
	i.answers(publishes(jwk(t, "1", signers()["RS"])))
	eventually(t, "the keys are there", func() bool { return v.Ready() == nil })
}

// Anybody can invent keys. The issuer is not to feel it.
func TestJWKS_InventedKeysBesiegeNobody(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	v := running(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSGap: time.Hour})
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if err := verify(t, v, "RS256", fmt.Sprint("eve", n), nil); reasonOf(err) != reasonUnknownKey {
			t.Fatal(err)
		}
	}
	if n := i.fetches.Load(); n != 1 || testutil.ToFloat64(v.metrics.fetchesSpared) != 100 {
		t.Errorf("%d fetches, %v spared", n, testutil.ToFloat64(v.metrics.fetchesSpared))
	}
	if err := verify(t, v, "PS256", "1", nil); err != nil {
		t.Errorf("a key that says nothing of its algorithm: %v", err)
	}
	if err := verify(t, v, "ES256", "1", nil); reasonOf(err) != reasonAlgorithm || testutil.ToFloat64(v.metrics.fetchesSpared) != 100 {
		t.Errorf("a known key with another algorithm asks the issuer: %v", err)
	}
}

func TestJWKS_ThoseWhoWaitShareOneFetch(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	v := running(t, quick(i.URL))
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	next := publishes(jwk(t, "2", signers()["RS"]))
	before := i.fetches.Load()
	i.answers(func(w http.ResponseWriter, r *http.Request) {
		<-release
		next(w, r)
	})
	eventually(t, "the gap is over", func() bool {
		v.shared[0].mu.Lock()
		defer v.shared[0].mu.Unlock()
		return time.Since(v.shared[0].began) > 2*time.Millisecond
	})
	const many = 50
	results := make(chan error, many)
	for range many {
		go func() { results <- verify(t, v, "RS256", "2", nil) }()
	}
	eventually(t, "the issuer is asked", func() bool { return i.fetches.Load() > before })
	for range many - maxWaiting { // more than may wait are told to come back
		if err := <-results; !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Errorf("a key that is there waits with them: %v", err)
	}
	close(release)
	for range maxWaiting {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := i.fetches.Load() - before; n != 1 {
		t.Errorf("%d waited, and the issuer was asked %d times", many, n)
	}
}

// A key that is not known while its issuer is away may be a new one.
func TestJWKS_AnUnknownKeyOfAnIssuerThatIsDownMayComeBack(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	v := running(t, quick(i.URL))
	if err := verify(t, v, "RS256", "1", nil); err != nil {
		t.Fatal(err)
	}
	i.answers(down)
	eventually(t, "the outage is noticed", func() bool { return errors.Is(verify(t, v, "RS256", "2", nil), ErrUnavailable) })
	i.answers(publishes(jwk(t, "2", signers()["RS"])))
	eventually(t, "the next key is good", func() bool { return verify(t, v, "RS256", "2", nil) == nil })
	eventually(t, "the last key is refused", func() bool { return reasonOf(verify(t, v, "RS256", "1", nil)) == reasonUnknownKey })
}

func TestJWKS_AWaitEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	i := newIssuer(t, func(http.ResponseWriter, *http.Request) { <-release })
	v := running(t, quick(i.URL))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Verify(ctx, sign(t, "RS256", signers()["RS"], nil))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestJWKS_RedirectsLeadNowhereElse(t *testing.T) {
	elsewhere := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	good := publishes(jwk(t, "1", signers()["RS"]))
	for _, c := range []struct {
		name string
		to   string
		want error
	}{
		{"another server", elsewhere.URL, ErrUnavailable},
		{"another path", "/moved", nil},
		{"round and round", "/", ErrUnavailable},
	} {
		i := newIssuer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				good(w, r)
				return
			}
			http.Redirect(w, r, c.to, http.StatusFound)
		})
		v := running(t, quick(i.URL+"/keys"))
		if err := verify(t, v, "RS256", "1", nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n := elsewhere.fetches.Load(); n != 0 {
		t.Errorf("followed %d times", n)
	}
}

func TestJWKS_AKeyIsForItsAlgorithmAndUse(t *testing.T) {
	alg := func(a string) func(*jwkset.JWKMarshal) { return func(m *jwkset.JWKMarshal) { m.ALG = jwkset.ALG(a) } }
	rs, secretKey := signers()["RS"], jwkset.JWKMarshal{KTY: "oct", KID: "oct", K: base64.RawURLEncoding.EncodeToString([]byte(secret))}
	i := newIssuer(t, publishes(
		jwk(t, "rs256", rs, alg("RS256")),
		jwk(t, "any", rs),
		jwk(t, "hs256", rs, alg("HS256")),
		jwk(t, "enc", rs, func(m *jwkset.JWKMarshal) { m.USE = "enc" }),
		jwk(t, "sign", rs, func(m *jwkset.JWKMarshal) { m.KEYOPS = []jwkset.KEYOPS{"sign"} }),
		jwk(t, "verify", rs, func(m *jwkset.JWKMarshal) { m.KEYOPS, m.USE = []jwkset.KEYOPS{"verify"}, "sig" }),
		jwk(t, "two", rs, alg("RS512")), jwk(t, "two", signers()["ES384"]),
		secretKey,
	))
	v := running(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSGap: time.Hour, JWKSTimeout: patience})
	for _, c := range []struct {
		algorithm, kid string
		want           reason
	}{
		{"RS256", "rs256", ""}, {"RS384", "rs256", reasonAlgorithm}, {"PS256", "rs256", reasonAlgorithm},
		{"RS256", "any", ""}, {"PS512", "any", ""}, {"ES256", "any", reasonAlgorithm}, {"HS256", "any", reasonAlgorithm},
		{"HS256", "hs256", reasonUnknownKey}, {"RS256", "hs256", reasonUnknownKey},
		{"RS256", "enc", reasonUnknownKey}, {"RS256", "sign", reasonUnknownKey}, {"RS256", "verify", ""},
		{"RS512", "two", ""}, {"ES384", "two", ""}, {"RS256", "two", reasonAlgorithm},
		{"HS256", "oct", reasonUnknownKey}, {"HS512", "oct", reasonUnknownKey},
	} {
		if err := verify(t, v, c.algorithm, c.kid, nil); reasonOf(err) != c.want || err != nil && c.want == "" {
			t.Errorf("%s with key %s: %v", c.algorithm, c.kid, err)
		}
	}
	if _, err := v.Verify(t.Context(), sign(t, "ES384", signer("ES384"), nil)); err != nil {
		t.Errorf("a token that names no key: %v", err)
	}
	if _, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), nil)); reasonOf(err) != reasonUnknownKey {
		t.Errorf("the secret that was published: %v", err)
	}
}

// A key of a set that is broken, or of a kind to come, costs the issuer that key and no other (RFC 7517 §5).
func TestJWKS_ABrokenKeyIsLeftOut(t *testing.T) {
	good, err := json.Marshal(jwk(t, "1", signers()["RS"]))
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{
		"a member is missing":    `{"kty":"EC","kid":"2","crv":"P-256","x":"AA"}`,
		"off its curve":          `{"kty":"EC","kid":"2","crv":"P-256","x":"AA","y":"AA"}`,
		"a member is no base64":  `{"kty":"RSA","kid":"2","n":"!","e":"AQAB"}`,
		"a use nobody knows":     `{"kty":"RSA","kid":"2","n":"AQAB","e":"AQAB","use":"tomorrow"}`,
		"no key":                 `7`,
		"a certificate is none":  `{"kty":"RSA","kid":"2","n":"AQAB","e":"AQAB","x5c":["MIIB"]}`,
		"a kind nobody knows":    `{"kty":"tomorrow","kid":"2"}`,
		"a member of other type": `{"kty":["RSA"],"kid":"2"}`,
	} {
		i := newIssuer(t, says(`{"keys":[`+broken+`,`+string(good)+`]}`, nil))
		if err := verify(t, running(t, quick(i.URL)), "RS256", "1", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An issuer's keys are good for its own tokens, and its tokens for no other keys.
func TestJWKS_IssuersVouchForThemselvesAlone(t *testing.T) {
	a := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	b := newIssuer(t, publishes(jwk(t, "1", signers()["ES256"])))
	v := running(t, Config{
		JWKS:   []JWKS{{Issuer: "https://a.example.org", URL: a.URL}, {Issuer: "https://b.example.org", URL: b.URL}},
		Secret: secret, Issuers: []string{"us"}, JWKSTimeout: patience,
	})
	for _, c := range []struct {
		algorithm, issuer string
		want              reason
	}{
		{"RS256", "https://a.example.org", ""},
		{"ES256", "https://b.example.org", ""},
		{"HS256", "us", ""},
		{"ES256", "https://a.example.org", reasonAlgorithm},
		{"RS256", "https://b.example.org", reasonAlgorithm},
		{"RS256", "us", reasonUnknownKey},
		{"HS256", "https://a.example.org", reasonAlgorithm},
		{"RS256", "https://a.example.org/", reasonIssuer},
		{"RS256", "", reasonIssuer},
	} {
		if err := verify(t, v, c.algorithm, "1", jwt.MapClaims{"iss": c.issuer}); reasonOf(err) != c.want || err != nil && c.want == "" {
			t.Errorf("%s of %q: %v", c.algorithm, c.issuer, err)
		}
	}
}

func TestJWKS_ComeByHTTPSOrFromThisMachine(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://login.example.org/keys": true, "http://127.0.0.1:1/keys": true, "http://localhost/keys": true, "http://[::1]/keys": true,
		"http://login.example.org/keys": false, "http://10.0.0.1/keys": false, "http://localhost.example.org/keys": false,
		"file:///etc/keys": false, "login.example.org": false, "": false, "https://": false,
	} {
		if err := (Config{JWKS: []JWKS{{URL: url}}}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	if err := (Config{JWKS: []JWKS{{URL: "http://login.example.org/keys"}}, PlainHTTP: true}).Validate(); err != nil {
		t.Error(err)
	}
}
