package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestVerify_SaysWhoAndWhatItMayDo(t *testing.T) {
	s, err := verifier(t, Config{Secret: secret}).Verify(t.Context(), sign(t, "HS256", []byte(secret), nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.Subject != "ada" || time.Until(s.Expires) < 59*time.Minute || s.Ends.Sub(s.Expires) != 30*time.Second {
		t.Errorf("got %+v", s)
	}
	if !s.MaySubscribe("metrics.web-1") || s.MaySubscribe("containers.web-1") || !s.MayAct("web-1", "api", "restart") || s.MayAct("web-1", "api", "kill") {
		t.Errorf("may do something else: %+v", s)
	}
}

func TestVerify_RefusesByClaims(t *testing.T) {
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	v := verifier(t, Config{Secret: secret, Issuers: []string{"us"}, Audiences: []string{"tidings", "screens"}})
	good := jwt.MapClaims{"iss": "us", "aud": "tidings"}
	for _, c := range []struct {
		name   string
		change jwt.MapClaims
		want   error
		reason reason
	}{
		{"good", nil, nil, ""},
		{"one of several audiences", jwt.MapClaims{"aud": []string{"others", "screens"}}, nil, ""},
		{"expired within the leeway", jwt.MapClaims{"exp": in(-20 * time.Second)}, nil, ""},
		{"expired", jwt.MapClaims{"exp": in(-40 * time.Second)}, ErrExpired, reasonExpired},
		{"no exp", jwt.MapClaims{"exp": nil}, ErrInvalid, reasonClaims},
		{"exp is no number", jwt.MapClaims{"exp": "tomorrow"}, ErrInvalid, reasonClaims},
		{"exp in milliseconds", jwt.MapClaims{"exp": in(time.Hour) * 1000}, ErrInvalid, reasonClaims},
		{"exp beyond floats", jwt.MapClaims{"exp": 1e300}, ErrInvalid, reasonClaims},
		{"not yet, within the leeway", jwt.MapClaims{"nbf": in(20 * time.Second)}, nil, ""},
		{"not yet", jwt.MapClaims{"nbf": in(time.Minute)}, ErrInvalid, reasonNotYet},
		{"issued in the future, within the leeway", jwt.MapClaims{"iat": in(20 * time.Second)}, nil, ""},
		{"issued in the future", jwt.MapClaims{"iat": in(time.Minute)}, ErrInvalid, reasonNotYet},
		{"issued in milliseconds", jwt.MapClaims{"iat": in(0) * 1000}, ErrInvalid, reasonClaims},
		{"another issuer", jwt.MapClaims{"iss": "them"}, ErrInvalid, reasonIssuer},
		{"no issuer", jwt.MapClaims{"iss": nil}, ErrInvalid, reasonIssuer},
		{"an issuer that is no text", jwt.MapClaims{"iss": 7}, ErrInvalid, reasonClaims},
		{"another audience", jwt.MapClaims{"aud": "others"}, ErrInvalid, reasonAudience},
		{"no audience", jwt.MapClaims{"aud": nil}, ErrInvalid, reasonClaims},
		{"expired and of another audience", jwt.MapClaims{"aud": "others", "exp": in(-time.Hour)}, ErrInvalid, reasonAudience},
		{"a subject of control characters", jwt.MapClaims{"sub": "a\nb"}, ErrInvalid, reasonClaims},
		{"a long subject", jwt.MapClaims{"sub": strings.Repeat("a", 257)}, ErrInvalid, reasonClaims},
		{"no subject", jwt.MapClaims{"sub": nil}, nil, ""},
		{"no grants", jwt.MapClaims{"tidings": nil}, nil, ""},
		{"a pattern that is none", jwt.MapClaims{"tidings": map[string]any{"subscribe": []string{"metrics.>", "a..b"}}}, ErrInvalid, reasonGrants},
		{"an action that is no pattern", jwt.MapClaims{"tidings": map[string]any{"act": []string{"web-1.api"}}}, ErrInvalid, reasonGrants},
		{"grants that are no list", jwt.MapClaims{"tidings": map[string]any{"subscribe": "metrics.>"}}, ErrInvalid, reasonGrants},
		{"grants that are no object", jwt.MapClaims{"tidings": "all"}, ErrInvalid, reasonGrants},
		{"too many grants", jwt.MapClaims{"tidings": map[string]any{"subscribe": slicesOf("a.b", 257)}}, ErrInvalid, reasonGrants},
		{"too long", jwt.MapClaims{"x": strings.Repeat("a", 8<<10)}, ErrInvalid, reasonTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := jwt.MapClaims{}
			for _, from := range []jwt.MapClaims{good, c.change} {
				for name, value := range from {
					claims[name] = value
				}
			}
			s, err := v.Verify(t.Context(), sign(t, "HS256", []byte(secret), claims))
			if !errors.Is(err, c.want) || (err == nil) != (s != nil) {
				t.Fatalf("got %v, %v, want %v", s, err, c.want)
			}
			var r *refusal
			if errors.As(err, &r) && r.reason != c.reason {
				t.Errorf("got reason %s, want %s", r.reason, c.reason)
			}
		})
	}
}

func slicesOf(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}
