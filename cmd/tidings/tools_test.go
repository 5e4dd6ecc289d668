package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/wire"
)

var quiet = slog.New(slog.DiscardHandler)

func TestTools_ExitCodes(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	_ = gone.Close()
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		stderr      string
	}{
		{"sub without an edge", "", []string{"sub", "--url", "ws://" + nobody + "/ws", "a"}, 75, "start one with `tidings run`, or name another with --url"},
		{"sub of nothing", "", []string{"sub"}, 2, "requires at least 1 arg"},
		{"sub with a bad pattern", "", []string{"sub", "a..b"}, 2, ""},
		{"sub twice the same", "", []string{"sub", "a", "a"}, 2, "already subscribed"},
		{"sub with a bad position", "", []string{"sub", "--since", "17", "a"}, 2, "--since: a position is written epoch:seq"},
		{"sub with a bad URL", "", []string{"sub", "--url", "127.0.0.1:80", "a"}, 2, ""},
		{"last without an edge", "", []string{"last", "--url", "ws://" + nobody + "/ws", "a"}, 75, "start one with `tidings run`, or name another with --url"},
		{"last with a bad pattern", "", []string{"last", "a b"}, 2, ""},
		{"last with a bad URL", "", []string{"last", "--url", "ftp://x", "a"}, 2, "begins with none of ws://, wss://, http://, https://"},
		{"pub without NATS", "", []string{"pub", "--nats", "nats://" + nobody, "--timeout", "200ms", "a", "1"}, 75, "name another with --nats"},
		{"pub to a pattern", "", []string{"pub", "a.*", "1"}, 2, ""},
		{"pub to a reserved type", "", []string{"pub", "ack.x", "1"}, 2, ""},
		{"pub with a bad NATS", "", []string{"pub", "--prefix", "a b", "a", "1"}, 2, "prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := invoke(t, c.stdin, c.args...)
			if code != c.code || !strings.Contains(stderr, c.stderr) || !strings.HasPrefix(stderr, "tidings: ") || stdout != "" {
				t.Errorf("ended with %d, want %d: %s%s", code, c.code, stdout, stderr)
			}
		})
	}
}

func TestTools_AnEdgeThatIsNotTrustedIsNotOneThatIsNotThere(t *testing.T) {
	edge := httptest.NewUnstartedServer(http.NotFoundHandler())
	edge.Config.ErrorLog = log.New(io.Discard, "", 0)
	edge.StartTLS()
	defer edge.Close()
	address := "wss" + strings.TrimPrefix(edge.URL, "https") + "/ws"
	for _, tool := range []string{"sub", "last"} {
		code, _, stderr := invoke(t, "", tool, "--url", address, "a")
		if code != 1 || !strings.Contains(stderr, "name the file of its authority in SSL_CERT_FILE") || strings.Contains(stderr, "no edge") {
			t.Errorf("%s ended with %d: %s", tool, code, stderr)
		}
	}
}

func TestTools_RefuseMisspeltEnvironment(t *testing.T) {
	t.Setenv("TIDINGS_ULR", "ws://127.0.0.1:1/ws")
	for _, args := range [][]string{{"sub", "a"}, {"last", "a"}, {"pub", "a", "1"}, {"bench"}} {
		code, _, stderr := invoke(t, "", args...)
		if code != 78 || !strings.Contains(stderr, "TIDINGS_ULR") || !strings.Contains(stderr, "did you mean TIDINGS_URL?") {
			t.Errorf("%s ended with %d: %s", args[0], code, stderr)
		}
	}
}

func TestSub_ReaderThatHadEnoughIsNoError(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code := run(ctx, []string{"tidings", "sub", "--url", r.url, "metrics.*"}, strings.NewReader(""), brokenPipe{}, new(bytes.Buffer))
	if code != 0 || ctx.Err() != nil {
		t.Errorf("ended with %d, %v", code, ctx.Err())
	}
}

func TestSub_InterruptIsNoErrorAndTellsThePosition(t *testing.T) {
	r := start(t)
	if code, _, stderr := invoke(t, "1 2 3", "pub", "--nats", r.nats, "demo.steps"); code != 0 {
		t.Fatal(stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stderr := new(bytes.Buffer)
	args := []string{"tidings", "sub", "--url", r.url, "--last", "3", "demo.steps"}
	code := run(ctx, args, strings.NewReader(""), &onThird{do: cancel}, stderr)
	_, position, told := strings.Cut(strings.TrimSpace(stderr.String()), "to go on from here: --since ")
	if code != 0 || ctx.Err() != context.Canceled || !told {
		t.Fatalf("ended with %d, %v: %s", code, ctx.Err(), stderr)
	}

	if code, _, stderr := invoke(t, "4", "pub", "--nats", r.nats, "demo.steps"); code != 0 {
		t.Fatal(stderr)
	}
	code, stdout, errs := invoke(t, "", "sub", "--url", r.url, "--since", position, "--count", "1", "demo.steps")
	if code != 0 || !strings.HasSuffix(stdout, " 4\n") {
		t.Errorf("gone on from %s: %d %s%s", position, code, stdout, errs)
	}
}

func TestPub_SendsEachValueOfStandardInput(t *testing.T) {
	r := start(t)
	code, stdout, stderr := invoke(t, "{\"n\":1}\n{\"n\":\n2} \"three\"\n", "pub", "--nats", r.nats, "demo.stream", "-")
	if code != 0 || strings.Count(stdout, "\n") != 3 {
		t.Fatalf("pub: %d %s%s", code, stdout, stderr)
	}
	_, stdout, _ = invoke(t, "", "sub", "--url", r.url, "--json", "--last", "9", "--count", "3", "demo.stream")
	if strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, `"payload":{"n":2}`) || !strings.Contains(stdout, `"payload":"three"`) {
		t.Errorf("sub: %s", stdout)
	}
}

func TestPub_WithALoginThatMayNotIsNotWithoutNATS(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	err := os.WriteFile(config, fmt.Appendf(nil, `jetstream { store_dir: %q }
		authorization { users: [ { user: ada, password: right }, { user: bob, password: right, permissions: { publish: { deny: "tidings.pub.>" } } } ] }`,
		filepath.Join(dir, "jetstream")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server := bustest.NewFromFile(t, config)
	ada, err := bus.Connect(t.Context(), bus.Config{Servers: []string{server.URL()}, Login: bus.Login{User: "ada", Password: "right"}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer ada.Close()
	if err := ada.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TIDINGS_NATS_PASSWORD", "right")
	for user, want := range map[string]int{"ada": 0, "bob": 75} {
		code, _, stderr := invoke(t, "", "pub", "--nats", server.URL(), "--nats-user", user, "--timeout", "1s", "demo.x", "1")
		if code != want || want != 0 && (!strings.Contains(stderr, "may this login publish to that topic?") || strings.Contains(stderr, "tidings run")) {
			t.Errorf("%s: ended with %d: %s", user, code, stderr)
		}
	}
}

func TestPub_SendsNoBadInput(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ name, input, want string }{
		{"text", "hello", "is no JSON (a text needs quotes of its own"},
		{"nothing", "", "there is no JSON to publish"},
		{"half", `{"a":`, "it ends in the middle"},
		{"not UTF-8", "\"\xff\"", "is not UTF-8"},
		{"too large", `"` + strings.Repeat("x", maxMessage) + `"`, "is larger than 1048576 bytes"},
		{"far too large", `"` + strings.Repeat("x", 5*maxMessage) + `"`, "is larger than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := invoke(t, c.input, "pub", "--nats", r.nats, "demo.bad")
			if code != 65 || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("ended with %d: %s%s", code, stdout, stderr)
			}
		})
	}
	if code, stdout, _ := invoke(t, "", "last", "--url", r.url, "demo.bad"); code != 3 {
		t.Errorf("something was sent: %s", stdout)
	}
}

func TestLine_OneALine(t *testing.T) {
	message := wire.Message{Topic: "a.b", Seq: 7, Payload: []byte("{\n \"x\": 1}")}
	raw := []byte("{\"topic\":\"a.b\",\"payload\":{\n \"x\": 1}}")
	for _, c := range []struct {
		name string
		json bool
		m    wire.Message
		want string
	}{
		{"text", false, message, " a.b #7 {\"x\":1}\n"},
		{"gone", false, wire.Message{Topic: "a.b", Seq: 7, Gone: true}, " a.b #7 gone\n"},
		{"outside the stream", false, wire.Message{Topic: "a.b", Payload: []byte("1")}, " a.b - 1\n"},
		{"json", true, message, "{\"topic\":\"a.b\",\"payload\":{\"x\":1}}\n"},
	} {
		var out bytes.Buffer
		p := &printer{w: &out, json: c.json}
		if err := p.message(c.m, raw); err != nil || !strings.HasSuffix(out.String(), c.want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %q, %v", c.name, out.String(), err)
		}
	}
	var out bytes.Buffer
	p := &printer{w: &out}
	if err := p.gap("a.b", wire.GapPayload{After: 3, Before: 9, Reason: wire.GapExpired}, nil); err != nil || !strings.Contains(out.String(), "a.b messages between #3 and #9 are lost: expired\n") {
		t.Errorf("gap: %q, %v", out.String(), err)
	}
}

// brokenPipe is an output whose reader went away.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// onThird is an output that does something when the third write comes.
type onThird struct {
	do     func()
	writes int
}

func (o *onThird) Write(p []byte) (int, error) {
	if o.writes++; o.writes == 3 {
		o.do()
	}
	return len(p), nil
}
