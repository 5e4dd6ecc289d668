package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"tidings/bus/bustest"
	"tidings/cmd/internal/daemontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is said when the stream is there. A test that ends before has NATS make it while it is stopped, which leaves goroutines of it behind.
var made = regexp.MustCompile(`"msg":"(stream is there)"`)

var admin = regexp.MustCompile(`"msg":"started","admin":"([^"]+)"`)

func TestEdge_LiveWithoutNATSReadyWithIt(t *testing.T) {
	nats := bustest.New(t)
	nats.Stop()
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	edge := daemontest.Start(t, run, "edge", "--auth", "none", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", nats.URL())
	address := "http://" + edge.Await(edge.Stderr, admin)

	if code, _ := daemontest.Get(t, address+"/livez"); code != 200 {
		t.Errorf("/livez without NATS: %d", code)
	}
	if body := daemontest.AwaitStatus(t, address+"/readyz", 503); !strings.Contains(body, `"nats: `) {
		t.Errorf("/readyz without NATS: %s", body)
	}
	nats.Restart()
	daemontest.AwaitStatus(t, address+"/readyz", 200)
	if code := edge.Stop(); code != 0 {
		t.Errorf("ended with %d: %s", code, edge.Stderr)
	}
}

func TestEdge_SaysThatItIsOpen(t *testing.T) {
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	edge := daemontest.Start(t, run, "edge", "--auth", "none", "--listen", ":0", "--admin", "127.0.0.1:0", "--nats", bustest.New(t).URL())
	daemontest.AwaitStatus(t, "http://"+edge.Await(edge.Stderr, admin)+"/readyz", 200)
	edge.Await(edge.Stderr, regexp.MustCompile(`"level":"WARN","msg":"(auth is none.*WHOEVER REACHES IT MAY SUBSCRIBE TO EVERYTHING)`))
}

func TestEdge_SaysThatItsKeysAreOfNoUse(t *testing.T) {
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	t.Setenv("TIDINGS_TOKENS_SECRET", "a secret that is long enough, but not to guess")
	edge := daemontest.Start(t, run, "edge", "--auth", "none", "--listen", "127.0.0.1:0", "--admin", "none", "--nats", bustest.New(t).URL())
	edge.Await(edge.Stderr, regexp.MustCompile(`"level":"WARN","msg":"(auth is none, so that nobody is asked for a token, although there are keys)`))
	edge.Await(edge.Stderr, made)
}

func TestEdge_ACertificateThatDoesNotWorkIsAFaultOfTheConfiguration(t *testing.T) {
	t.Setenv("TIDINGS_TLS_CERT", t.TempDir()+"/tls.crt")
	t.Setenv("TIDINGS_TLS_KEY", "main_test.go")
	code, _, stderr := daemontest.Invoke(t, run, "", "edge", "--auth", "none", "--listen", "127.0.0.1:0", "--admin", "none", "--nats", "nats://127.0.0.1:1")
	if code != 78 || !strings.Contains(stderr, "edge: TLS: ") || !strings.Contains(stderr, "tls.crt: no such file") || strings.Contains(stderr, "--listen") {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

func TestEdge_DoesNotStartOpenByOversight(t *testing.T) {
	code, _, stderr := daemontest.Invoke(t, run, "", "edge", "--listen", "127.0.0.1:0", "--admin", "none")
	if code != 78 || !strings.Contains(stderr, "auth: tokens needs keys: name them in tokens.secret_files") {
		t.Errorf("ended with %d: %s", code, stderr)
	}
	if code, stdout, stderr := daemontest.Invoke(t, run, "", "edge", "--print-config"); code != 0 || !strings.Contains(stdout, "auth: tokens") {
		t.Errorf("--print-config ended with %d: %s", code, stderr)
	}
}

func TestEdge_TakesTokensOfItsKeysAlone(t *testing.T) {
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	t.Setenv("TIDINGS_TOKENS_SECRET", "a secret that is long enough, but not to guess")
	edge := daemontest.Start(t, run, "edge", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", bustest.New(t).URL())
	daemontest.AwaitStatus(t, "http://"+edge.Await(edge.Stderr, admin)+"/readyz", 200)
	address := edge.Await(edge.Stderr, regexp.MustCompile(`"msg":"auth is tokens[^"]*","listen":"([^"]+)"`))
	for _, c := range []struct {
		secret string
		status int
	}{
		{"a secret that is long enough, but not to guess", 200},
		{"a secret that is long enough, and not the right", 401},
	} {
		claims := jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "tidings": map[string]any{"subscribe": []string{"metrics.>"}}}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.secret))
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/last?topic=metrics.*", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != c.status {
			t.Errorf("got %s, want %d", response.Status, c.status)
		}
		if strings.Contains(edge.Stderr.String(), token[:20]) {
			t.Error("the log holds a token")
		}
	}
	http.DefaultClient.CloseIdleConnections()
	_, metrics := daemontest.Get(t, "http://"+edge.Await(edge.Stderr, admin)+"/metrics")
	for _, want := range []string{`tidings_auth_tokens_total{result="ok"} 1`, `tidings_auth_tokens_total{result="signature"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestEdge_IsNotReadyWithoutKeys(t *testing.T) {
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	edge := daemontest.Start(t, run, "edge", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", bustest.New(t).URL(),
		"--token-jwks", "http://127.0.0.1:1/keys")
	address := "http://" + edge.Await(edge.Stderr, admin)
	var body string
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(body, `"reasons":["no keys to verify tokens with: Get `); { // NATS was another
		if body = daemontest.AwaitStatus(t, address+"/readyz", 503); time.Now().After(deadline) {
			t.Fatalf("/readyz without keys: %s", body)
		}
	}
	edge.Await(edge.Stderr, made)
}

func TestEdge_TellsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_LIMITS_HEADERS", "1")
	t.Setenv("TIDINGS_NATS_TLS_CERT", "/nowhere/edge.pem")
	t.Setenv("TIDINGS_NATS_CREDENTIALS", "/nowhere/edge.creds")
	code, _, stderr := daemontest.Invoke(t, run, "", "edge", "--listen", "x", "--auth", "jwt", "--nats", "ftp://x")
	for _, want := range []string{"\n  listen: ", "\n  auth: ", "\n  nats.servers: ", "\n  nats.credentials: open /nowhere/edge.creds: ", "\n  nats.tls.key: ", "\n  limits.headers: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 78 || t.Failed() {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

func TestEdge_HelpTeaches(t *testing.T) {
	code, stdout, stderr := daemontest.Invoke(t, run, "", "edge", "--help")
	for _, want := range []string{"Examples:", "Exit codes:", "--print-config", "TIDINGS_LISTEN", "/readyz"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 0 || stderr != "" || t.Failed() {
		t.Errorf("ended with %d: %s%s", code, stdout, stderr)
	}
}
