package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tidings/bus/bustest"
	"tidings/cmd/internal/daemontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var admin = regexp.MustCompile(`"msg":"started","admin":"([^"]+)"`)

func TestPublisher_PublishesThisHost(t *testing.T) {
	nats := bustest.New(t)
	publisher := daemontest.Start(t, run, "publisher", "--admin", "127.0.0.1:0", "--nats", nats.URL(), "--host", "Web-1.example.org",
		"--docker-host", "unix:///nowhere/docker.sock")
	address := "http://" + publisher.Await(publisher.Stderr, admin)
	daemontest.AwaitStatus(t, address+"/readyz", 200)

	conn := nats.Connect(t)
	listener := conn.Listen(16)
	defer listener.Close()
	if err := listener.Add("metrics.web-1-example-org"); err != nil {
		t.Fatal(err)
	}
	message, err := conn.Decode(<-listener.C())
	if err != nil || !strings.Contains(string(message.Payload), `"host":"Web-1.example.org"`) {
		t.Errorf("got %s, %v", message.Payload, err)
	}
	if code := publisher.Stop(); code != 0 {
		t.Errorf("ended with %d: %s", code, publisher.Stderr)
	}
}

func TestPublisher_SecondOfAHostSaysSoAndEnds(t *testing.T) {
	nats := bustest.New(t)
	args := []string{"publisher", "--admin", "127.0.0.1:0", "--nats", nats.URL(), "--host", "web-1"}
	first := daemontest.Start(t, run, args...)
	daemontest.AwaitStatus(t, "http://"+first.Await(first.Stderr, admin)+"/readyz", 200)
	code, _, stderr := daemontest.Invoke(t, run, "", args...)
	if code != 75 || !strings.Contains(stderr, "web-1") || !strings.Contains(stderr, "--host") {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

func TestPublisher_TellsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_HOST_PROC", "/nowhere")
	code, _, stderr := daemontest.Invoke(t, run, "", "publisher", "--docker-host", "here", "--nats", "ftp://x")
	for _, want := range []string{"\n  host.proc: ", "\n  docker.host: ", "\n  nats.servers: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 78 || t.Failed() {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

// An operator who has mistyped the path learns it at once, and not when NATS is there.
func TestPublisher_WithoutItsAuditFileItDoesNotStart(t *testing.T) {
	secret, missing := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "nowhere", "actions.jsonl")
	if err := os.WriteFile(secret, []byte("a secret of thirty-two bytes, or more"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := daemontest.Invoke(t, run, "", "publisher", "--admin", "127.0.0.1:0", "--nats", "nats://127.0.0.1:1", "--host", "web-1",
		"--actions", "--token-secret-file", secret, "--audit-file", missing)
	if code != 78 || !strings.Contains(stderr, "audit_file: open "+missing) {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}
