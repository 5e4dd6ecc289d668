package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tidings/cmd/internal/daemontest"
)

// made makes a secret and returns its file, and one with a token that it signed.
func made(t *testing.T, args ...string) (secret, token string) {
	t.Helper()
	dir := t.TempDir()
	secret, token = filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	if code, _, stderr := invoke(t, "", "token", "key", secret); code != 0 {
		t.Fatal(stderr)
	}
	code, stdout, stderr := invoke(t, "", append([]string{"token", "make", "--key", secret}, args...)...)
	if code != 0 {
		t.Fatal(stderr)
	}
	if err := os.WriteFile(token, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	return secret, token
}

func TestToken_OpensAnEdgeForWhatItGrants(t *testing.T) {
	secret, token := made(t, "--sub", "ada", "--subscribe", "demo.>", "--subscribe", "bench.>")
	r := start(t, "--token-secret-file", secret)
	if code, _, stderr := invoke(t, "", "pub", "--nats", r.nats, "demo.hello", `{"text":"hi"}`); code != 0 {
		t.Fatal(stderr)
	}
	content, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		args           []string
		env            string
		code           int
		stdout, stderr string
	}{
		{"last", []string{"last", "--token-file", token, "demo.*"}, "", 0, "demo.hello", ""},
		{"last, by the environment", []string{"last", "demo.*"}, string(content), 0, "demo.hello", ""},
		{"last, on the command line", []string{"last", "--token", string(content), "demo.*"}, "", 0, "demo.hello", ""},
		{"last without", []string{"last", "demo.*"}, "", 1, "", "--token-file FILE or TIDINGS_TOKEN shows one"},
		{"last of something else", []string{"last", "--token-file", token, "metrics.*"}, "", 1, "", "forbidden"},
		{"sub", []string{"sub", "--token-file", token, "--last", "1", "--count", "1", "demo.hello"}, "", 0, "demo.hello", ""},
		{"sub without", []string{"sub", "demo.hello"}, "", 1, "", "--token-file FILE or TIDINGS_TOKEN shows one"},
		{"sub to something else", []string{"sub", "--token-file", token, ">"}, "", 1, "", "forbidden"},
		{"sub without its file", []string{"sub", "--token-file", token + "s", "demo.hello"}, "", 2, "", "no such file"},
		{"sub with another file", []string{"sub", "--token-file", "token_test.go", "demo.hello"}, "", 2, "", "holds something else than a token"},
		{"sub with the token for its file", []string{"sub", "--token-file", string(content), "demo.hello"}, "", 2, "", "that is a token itself"},
		{"explain with the token for its file", []string{"token", "explain", strings.TrimSpace(string(content))}, "", 2, "", "write it to standard input"},
		{"bench", []string{"bench", "--token-file", token, "--nats", r.nats, "--clients", "2", "--duration", "100ms", "--warmup", "1ms"}, "", 0, "deliver", ""},
		{"bench without", []string{"bench", "--nats", r.nats, "--clients", "2", "--duration", "100ms"}, "", 1, "", "unauthorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TIDINGS_TOKEN", c.env)
			t.Setenv("TIDINGS_URL", r.url)
			code, stdout, stderr := invoke(t, "", c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("ended with %d, want %d:\n%s%s", code, c.code, stdout, stderr)
			}
			if strings.Contains(stderr, string(content[:20])) {
				t.Errorf("the token is repeated: %s", stderr)
			}
		})
	}
	if log := r.Stderr.String(); strings.Contains(log, string(content[:20])) {
		t.Error("the log holds a token")
	}
}

func TestSub_GoesOnOverTheEndOfItsToken(t *testing.T) {
	secret, token := made(t, "--subscribe", "demo.>", "--expires", "3s")
	r := start(t, "--token-secret-file", secret)
	sub := daemontest.Start(t, run, "tidings", "sub", "--url", r.url, "--token-file", token, "--count", "2", "--last", "1", "demo.hello")
	publish := func(payload string) {
		t.Helper()
		if code, _, stderr := invoke(t, "", "pub", "--nats", r.nats, "demo.hello", payload); code != 0 {
			t.Fatal(stderr)
		}
	}
	publish("1")
	sub.Await(sub.Stdout, regexp.MustCompile(`demo.hello (#\d+) 1\n`))
	_, next, stderr := invoke(t, "", "token", "make", "--key", secret, "--subscribe", "demo.>")
	if err := os.WriteFile(token, []byte(next), 0o600); err != nil {
		t.Fatal(stderr, err)
	}
	sub.Await(sub.Stderr, regexp.MustCompile(`(connected again)`))
	publish("2")
	sub.Await(sub.Stdout, regexp.MustCompile(`demo.hello (#\d+) 2\n`))
}

func TestToken_IsExplainedInWords(t *testing.T) {
	secret, token := made(t, "--sub", "ada", "--subscribe", "metrics.>", "--subscribe", "host.web-1", "--act", "web-1.*.restart", "--act", "web-2.>",
		"--role", "viewer", "--iss", "us", "--aud", "them", "--kid", "2026")
	config := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(config, []byte("auth: tokens\ntokens:\n  secret_files: ["+secret+"]\n  role_claim: role\n  roles: ['viewer = subscribe users.{sub}.*']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := []string{"signed      with HS256, key 2026", "for         ada", "issuer      us", "audience    [\"them\"]", "expires     in ",
		"subscribe to metrics.>: all topics that begin with metrics", "subscribe to host.web-1: that topic",
		"act on web-1.*.restart: restart any container on web-1", "act on web-2.>: do anything to any container on web-2"}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"alone", []string{token}, []string{"verdict     unknown: there are no keys"}},
		{"with its secret", []string{"--token-secret-file", secret, token}, []string{"verdict     good"}},
		{"as an edge would", []string{"--config", config, token}, []string{"verdict     good", "subscribe to users.ada.*: all such topics, with any one word for *"}},
	} {
		code, stdout, stderr := invoke(t, "", append([]string{"token", "explain"}, c.args...)...)
		for _, want := range append(words, c.want...) {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q", c.name, want)
			}
		}
		if code != 0 || stderr != "" || t.Failed() {
			t.Fatalf("%s: ended with %d:\n%s%s", c.name, code, stdout, stderr)
		}
	}
}

func TestToken_ExitCodes(t *testing.T) {
	secret, token := made(t, "--expires", "1h", "--sub", "ada")
	other, _ := made(t)
	pair := filepath.Join(t.TempDir(), "pair")
	if code, _, stderr := invoke(t, "", "token", "key", "--algorithm", "EdDSA", pair); code != 0 {
		t.Fatal(stderr)
	}
	content, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		want        string // of standard output and error
	}{
		{"explain from standard input", string(content), []string{"explain"}, 0, "for         ada"},
		{"explain with another secret", "", []string{"explain", "--token-secret-file", other, token}, 1, "none of the keys that it could be has signed it"},
		{"explain for another audience", "", []string{"explain", "--token-secret-file", secret, "--config", "-", token}, 78, ""},
		{"explain what is none", "hello", []string{"explain"}, 65, "it is no JWT"},
		{"explain nothing", "", []string{"explain"}, 65, "holds no token"},
		{"explain with a file that is not there", "", []string{"explain", "--token-key-file", "/nowhere", token}, 78, "/nowhere"},
		{"explain without its issuer", "", []string{"explain", "--token-jwks", "http://127.0.0.1:1/keys", token}, 75, "cannot be had: Get \"http://127.0.0.1:1/keys\""},
		{"make with a key pair", "", []string{"make", "--key", pair, "--subscribe", ">"}, 0, "."},
		{"make with a public key", "", []string{"make", "--key", pair + ".pub"}, 65, "cannot sign"},
		{"make with a secret from standard input", strings.Repeat("x", 32), []string{"make", "--key", "-"}, 0, "this token grants nothing"},
		{"make with a short secret", "short", []string{"make", "--key", "-"}, 65, "at least 32"},
		{"make without a key", "", []string{"make"}, 2, "key"},
		{"make with another algorithm", "", []string{"make", "--key", pair, "--algorithm", "HS256"}, 2, "good for EdDSA"},
		{"make with bad patterns", "", []string{"make", "--key", pair, "--subscribe", "a..b", "--act", "a.b.restrat", "--expires", "-1s"}, 2, `there is no action "restrat"`},
		{"make with a role in the way", "", []string{"make", "--key", pair, "--role", "x", "--role-claim", "iat.roles"}, 2, `"iat" says something else`},
		{"make with a nested role", "", []string{"make", "--key", pair, "--role", "x", "--role-claim", "realm_access.roles"}, 0, "."},
		{"key that is there", "", []string{"key", secret}, 2, "remove it"},
		{"key for nothing", "", []string{"key", "--algorithm", "none", "x"}, 2, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := invoke(t, c.stdin, append([]string{"token"}, c.args...)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("ended with %d, want %d:\n%s%s", code, c.code, stdout, stderr)
			}
		})
	}
}

func TestTokenKey_IsForItsOwnersEyes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pair")
	if code, stdout, stderr := invoke(t, "", "token", "key", "--algorithm", "ES256", path); code != 0 || stdout != "" {
		t.Fatal(stdout + stderr)
	}
	for file, mode := range map[string]os.FileMode{path: 0o600, path + ".pub": 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}
