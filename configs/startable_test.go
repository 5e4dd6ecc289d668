package configs

import (
	"strings"
	"testing"
)

func TestStartable_NoEdgeIsOpenByOversight(t *testing.T) {
	for _, c := range []struct {
		name, args string
		want       string // part of the error; empty: it may start
	}{
		{"nothing said", "", "tokens.secret_files"},
		{"tokens without keys", "--auth tokens", "tokens.secret_files"},
		{"none", "--auth none --listen :8080", ""},
		{"a secret", "--token-secret-file secret", ""},
		{"public keys", "--token-key-file key.pem", ""},
		{"an issuer", "--token-jwks https://login.example.org/jwks.json", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := load(t, ForEdge, "", strings.Fields(c.args)...)
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, config.Startable(), c.want)
		})
	}
}

func TestStartable_EverythingIsOpenOnLoopbackAlone(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--listen localhost:80", ""},
		{"--listen [::1]:80", ""},
		{"--listen :8080", "listen is not this machine's alone"},
		{"--listen 0.0.0.0:8080", "listen is not this machine's alone"},
		{"--listen 10.0.0.1:8080", "listen is not this machine's alone"},
		{"--listen localhost.example.org:8080", "listen is not this machine's alone"},
		{"--listen :8080 --auth none", ""},
		{"--listen :8080 --token-secret-file secret", ""},
		{"--auth tokens", "tokens needs keys"},
	} {
		t.Run(c.args, func(t *testing.T) {
			config, err := load(t, ForTidings, "", strings.Fields(c.args)...)
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, config.Startable(), c.want)
		})
	}
}

func TestStartable_ActionsNeedTokens(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--allow-actions --token-secret-file secret", ""},
		{"--allow-actions=false --auth none", ""},
		{"--allow-actions --auth none", "nobody may act"},
		{"--allow-actions --auth none --token-secret-file secret", "nobody may act"},
	} {
		t.Run(c.args, func(t *testing.T) {
			config, err := load(t, ForEdge, "", strings.Fields(c.args)...)
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, config.Startable(), c.want)
		})
	}
	config, err := load(t, ForTidings, "", "--allow-actions")
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, config.Startable(), "nobody may act")
}

// refuses expects an error that begins with its key, or, with an empty want, none.
func refuses(t *testing.T, err error, want string) {
	t.Helper()
	key := "auth: "
	if strings.Contains(want, "act") {
		key = "allow_actions: "
	}
	if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), key) || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}
