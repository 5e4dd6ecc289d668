package verify

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tidings/cmd/internal/daemon"
	"tidings/configs"
	"tidings/edge/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// usual is a section as the files have it.
func usual() configs.Tokens {
	return configs.Tokens{JWKSInterval: time.Minute, Leeway: time.Second, RequireExp: true, SubjectClaim: "sub", GrantsClaim: "tidings"}
}

func TestConfig_MeansWhatTheFilesSay(t *testing.T) {
	c := usual()
	c.JWKS = []string{"https://a.example.org/keys", "https://b.example.org/  https://b.example.org/keys"}
	c.RoleClaim = "realm_access.roles"
	c.Roles = []string{"admin = subscribe > act *.*.restart web-1.>", "viewer=subscribe metrics.> users.{sub}.>"}
	c.Leeway = 0
	got, err := authConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []auth.JWKS{{URL: "https://a.example.org/keys"}, {URL: "https://b.example.org/keys", Issuer: "https://b.example.org/"}}; !reflect.DeepEqual(got.JWKS, want) {
		t.Errorf("JWKS %+v", got.JWKS)
	}
	want := map[string]auth.Grant{
		"admin":  {Subscribe: []string{">"}, Act: []string{"*.*.restart", "web-1.>"}},
		"viewer": {Subscribe: []string{"metrics.>", "users.{sub}.>"}},
	}
	if !reflect.DeepEqual(got.Roles, want) {
		t.Errorf("roles %+v", got.Roles)
	}
	if got.Leeway >= 0 || got.NoExpiry {
		t.Errorf("leeway %v, tokens without exp %v", got.Leeway, got.NoExpiry)
	}
	if err := Check(c); err != nil {
		t.Error(err)
	}
}

func TestCheck_NamesFaultsByTheirKeys(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*configs.Tokens)
		want   string
	}{
		{"secret", func(c *configs.Tokens) { c.Secret = "short" }, "tokens.Secret: the secret has 5 bytes"},
		{"http", func(c *configs.Tokens) { c.JWKS = []string{"http://login.example.org/keys"} }, "tokens.JWKS: "},
		{"algorithm", func(c *configs.Tokens) { c.KeyFiles, c.Algorithms = []string{"k"}, []string{"none"} }, `tokens.Algorithms: "none" is none of HS256`},
		{"a role that is none", func(c *configs.Tokens) { c.Roles = []string{"viewer"} }, `tokens.roles: "viewer" is no role such as`},
		{"a role without words", func(c *configs.Tokens) { c.Roles = []string{"viewer = metrics.>"} }, `tokens.roles: viewer: "metrics.>" is neither subscribe nor act`},
		{"a role twice", func(c *configs.Tokens) { c.Roles = []string{"a = act >", "a = subscribe >"} }, "tokens.roles: a stands there twice"},
		{"a role's pattern", func(c *configs.Tokens) {
			c.KeyFiles, c.RoleClaim, c.Roles = []string{"k"}, "role", []string{"a = act web-1.api.restrat"}
		}, `tokens.Roles: a: act: pattern "web-1.api.restrat": there is no action "restrat"`},
		{"roles without their claim", func(c *configs.Tokens) { c.KeyFiles, c.Roles = []string{"k"}, []string{"a = act >"} }, "tokens.RoleClaim: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := usual()
			c.change(&config)
			if err := Check(config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if err := Check(usual()); err != nil {
		t.Errorf("without keys: %v", err)
	}
}

func TestNew_ReadsFilesOrSaysWhichItCannot(t *testing.T) {
	c := usual()
	path := filepath.Join(t.TempDir(), "secret")
	c.SecretFiles = []string{path}
	_, err := New(c, slog.New(slog.DiscardHandler), nil)
	if daemon.ExitCode(err) != daemon.ExitConfig || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	if v, err := New(c, slog.New(slog.DiscardHandler), registry); err != nil || v == nil {
		t.Errorf("got %v, %v", v, err)
	}
	if families, err := registry.Gather(); err != nil || len(families) == 0 {
		t.Errorf("no metrics: %v", err)
	}
	if v, err := New(usual(), slog.New(slog.DiscardHandler), nil); v != nil || err != nil {
		t.Errorf("without keys: %v, %v", v, err)
	}
}
