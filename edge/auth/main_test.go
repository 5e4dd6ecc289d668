package auth

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to take that long.
const patience = 10 * time.Second

// secret is as long as every HS algorithm asks for.
const secret = "a secret of sixty-four bytes, which is what HS512 asks for, no less"

// sign makes a token. Claims are the good ones of claims, changed by change; a nil value takes a claim out.
func sign(t testing.TB, algorithm string, key any, change jwt.MapClaims) string {
	t.Helper()
	return signWith(t, algorithm, key, nil, change)
}

func signWith(t testing.TB, algorithm string, key any, header map[string]any, change jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{
		"sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
		"tidings": map[string]any{"subscribe": []string{"metrics.>"}, "act": []string{"web-1.*.restart"}},
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), claims)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func verifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
