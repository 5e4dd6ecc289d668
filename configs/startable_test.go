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

func TestStartable_PublishersActionsNeedTokensContainersAndARecord(t *testing.T) {
	for _, c := range []struct{ args, file, want string }{
		{"", "", ""},
		{"--actions --audit-file a --token-secret-file secret", "", ""},
		{"--actions --audit-file a", "", "nobody may act"},
		{"--actions --token-secret-file secret", "", "actions.audit_file"},
		{"--actions --audit-file a --token-secret-file secret", "docker: {enabled: false}", "nothing to act on"},
	} {
		config, err := load(t, ForPublisher, c.file, strings.Fields(c.args)...)
		if err != nil {
			t.Fatal(err)
		}
		err = config.Startable()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %s", c.args, c.file, err, c.want)
		}
	}
	config, err := load(t, ForTidings, "", "--actions", "--token-secret-file", "secret")
	if err != nil || config.Startable() != nil { // its record is in its data directory
		t.Errorf("got %v, %v", err, config.Startable())
	}
	_, err = load(t, ForPublisher, "actions: {verbs: [restart, exec], at_once: 0}")
	for _, want := range []string{"exec", "at_once"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in %v", want, err)
		}
	}
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
