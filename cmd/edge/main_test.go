package main

import (
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tidings/bus/bustest"
	"tidings/cmd/internal/daemontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var admin = regexp.MustCompile(`"msg":"started","admin":"([^"]+)"`)

func TestEdge_LiveWithoutNATSReadyWithIt(t *testing.T) {
	nats := bustest.New(t)
	nats.Stop()
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	edge := daemontest.Start(t, run, "edge", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", nats.URL())
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
	edge := daemontest.Start(t, run, "edge", "--listen", ":0", "--admin", "127.0.0.1:0", "--nats", bustest.New(t).URL())
	daemontest.AwaitStatus(t, "http://"+edge.Await(edge.Stderr, admin)+"/readyz", 200)
	edge.Await(edge.Stderr, regexp.MustCompile(`"level":"WARN","msg":"(auth is none.*WHOEVER REACHES IT MAY SUBSCRIBE TO EVERYTHING)`))
}

func TestEdge_TellsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_LIMITS_HEADERS", "1")
	code, _, stderr := daemontest.Invoke(t, run, "", "edge", "--listen", "x", "--auth", "jwt", "--nats", "ftp://x")
	for _, want := range []string{"\n  listen: ", "\n  auth: ", "\n  nats.servers: ", "\n  limits.headers: "} {
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
