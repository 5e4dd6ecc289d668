//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The page is for whoever has a token, and says so to others.
func TestBrowser_ShowsTheMachineToWhoHasAToken(t *testing.T) {
	t.Parallel()
	const secret = "a secret that is long enough, but not to guess"
	b := startBrowser(t)
	r := runWith(t, t.TempDir(), []string{"TIDINGS_TOKENS_SECRET=" + secret})
	sign := func(subscribe ...string) string {
		claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "tidings": map[string]any{"subscribe": subscribe}}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const state, said = `document.getElementById("state").dataset.state`, `document.getElementById("state").textContent`
	for _, c := range []struct{ name, hash, state, says string }{
		{"no token", "", "away", "a token is needed"},
		{"a token that is none", "#token=a.b.c", "away", "not valid"},
		{"one that grants too little", "#token=" + sign("host.*"), "away", "metrics.*"},
		{"one that grants enough", "#token=" + sign(">"), "live", "live from"},
	} {
		b.call("Page.navigate", map[string]any{"url": "about:blank"}, nil)
		b.call("Page.navigate", map[string]any{"url": r.page + c.hash}, nil)
		b.becomes(c.name+" to be "+c.state, state, func(v string) bool { return v == c.state })
		if got := b.evaluate(said); !strings.Contains(got, c.says) {
			t.Errorf("%s: the page says %q, not %q", c.name, got, c.says)
		}
	}
	b.becomes("the CPU's use", `document.querySelector("#hosts [role=meter][aria-label=CPU]")?.getAttribute("aria-valuetext")`,
		func(v string) bool { return strings.Contains(v, " %") })
}
