package auth

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics_ExistFromTheStartAndSayWhatTheyAre(t *testing.T) {
	registry := prometheus.NewRegistry()
	v := verifier(t, Config{Secret: secret, Registerer: registry})
	for _, r := range append([]reason{"ok"}, reasons...) {
		if !strings.Contains(exposed(t, registry), `tidings_auth_tokens_total{result="`+string(r)+`"} 0`) {
			t.Errorf("there is no result %s", r)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if _, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), nil)); err != nil {
		t.Fatal(err)
	}
	_, _ = v.Verify(t.Context(), sign(t, "HS256", []byte(secret), jwt.MapClaims{"exp": 1}))
	_, _ = v.Verify(t.Context(), "no token")
	for _, want := range []string{`tidings_auth_tokens_total{result="ok"} 1`, `tidings_auth_tokens_total{result="expired"} 1`,
		`tidings_auth_tokens_total{result="malformed"} 1`, `tidings_auth_keys 1`, `tidings_auth_verify_seconds_count 3`} {
		if got := exposed(t, registry); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if _, err := New(Config{Secret: secret, Registerer: registry}); err == nil {
		t.Error("two verifiers count in one place")
	}
}

func TestMetrics_TellHowOldAnIssuersKeysAre(t *testing.T) {
	i := newIssuer(t, down)
	registry := prometheus.NewRegistry()
	cfg := quick(i.URL)
	cfg.Registerer = registry
	v := running(t, cfg)
	if !strings.Contains(exposed(t, registry), "tidings_auth_jwks_oldest_timestamp_seconds 0\n") {
		t.Error("keys that were never had have an age")
	}
	i.answers(publishes(jwk(t, "1", signers()["RS"])))
	eventually(t, "the issuer has come", func() bool { return verify(t, v, "RS256", "1", nil) == nil })
	if age := float64(time.Now().Unix()) - v.oldestFetch(); age < -1 || age > patience.Seconds() {
		t.Errorf("the keys are %v s old", age)
	}
}

// exposed is what Prometheus would read.
func exposed(t testing.TB, registry *prometheus.Registry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Body.String()
}

// Whoever reads the log of an edge must not be able to use what is in it.
func TestErrorsAndLogs_HoldNothingOfAToken(t *testing.T) {
	i := newIssuer(t, publishes(jwk(t, "1", signers()["RS"])))
	var log bytes.Buffer
	v := verifier(t, Config{Secret: secret, JWKS: []JWKS{{URL: i.URL, Issuer: "them"}}, Audiences: []string{"us"}, JWKSTimeout: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	const private = "hunter2hunter2"
	for _, change := range []jwt.MapClaims{
		{"sub": private + "\n"}, {"aud": private}, {"exp": private}, {"iss": "them", "sub": private}, {"exp": 1, "sub": private},
		{"tidings": private}, {"tidings": map[string]any{"subscribe": []string{private + ".."}}}, {"tidings": map[string]any{"act": []string{private}}},
	} {
		claims := jwt.MapClaims{"aud": "us"}
		for name, value := range change {
			claims[name] = value
		}
		token := sign(t, "HS256", []byte(secret), claims)
		for _, token := range []string{token, token[:len(token)-4], token + "." + token, strings.ReplaceAll(token, ".", "")} {
			_, err := v.Verify(t.Context(), token)
			if err == nil {
				t.Fatalf("took a token with %v", change)
			}
			said := err.Error() + log.String()
			if strings.Contains(said, "hunter2") {
				t.Errorf("%v is told: %v", change, err)
			}
			for segment := range strings.SplitSeq(token, ".") {
				if len(segment) >= 8 && strings.Contains(said, segment[:8]) {
					t.Errorf("a part of the token is told: %v", err)
				}
			}
		}
	}
}
