package mint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/edge/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSign_IsTakenByAuth(t *testing.T) {
	for _, algorithm := range auth.Algorithms {
		private, public, err := NewKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		cfg := auth.Config{Algorithms: []string{algorithm}}
		path := filepath.Join(t.TempDir(), "key")
		if public == nil {
			public = private
			cfg.SecretFiles = []string{path}
		} else {
			cfg.KeyFiles = []string{path}
		}
		if err := os.WriteFile(path, public, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := auth.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ReadKey(private)
		if err != nil {
			t.Fatal(err)
		}
		token, err := key.Sign(algorithm, "k", map[string]any{"sub": "ada", "exp": time.Now().Add(time.Minute).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := v.Verify(t.Context(), token); err != nil || s.Subject != "ada" {
			t.Errorf("%s: %v, %v", algorithm, s, err)
		}
	}
}

func TestReadKey_SaysWhatCannotSign(t *testing.T) {
	_, public, err := NewKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		string(public): "cannot sign",
		"short":        "the secret has 5 bytes",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n":         "a broken private key",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----": `"OPENSSH PRIVATE KEY"`,
	} {
		if _, err := ReadKey([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	key, err := ReadKey([]byte(strings.Repeat("x", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign("HS512", "", nil); err == nil || !strings.Contains(err.Error(), "good for HS256") {
		t.Errorf("got %v", err)
	}
	if _, _, err := NewKey("none"); err == nil {
		t.Error("made a key for none")
	}
}
