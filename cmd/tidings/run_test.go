package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/cmd/internal/daemontest"
)

func TestRun_ShowsThisMachine(t *testing.T) {
	began := time.Now()
	r := start(t)
	code, stdout, stderr := invoke(t, "", "sub", "--url", r.url, "--json", "--count", "1", "metrics.*")
	if code != 0 {
		t.Fatalf("sub ended with %d: %s", code, stderr)
	}
	var message struct {
		Type    string
		Seq     uint64
		Payload struct {
			CPU struct{ LogicalCount int }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &message); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if message.Type != "metrics" || message.Seq == 0 || message.Payload.CPU.LogicalCount < 1 {
		t.Errorf("got %s", stdout)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the first metrics came after %v", took)
	}
	if code, body := daemontest.Get(t, r.page); code != 200 || !strings.Contains(strings.ToLower(body), "<html") {
		t.Errorf("the page: %d %.200s", code, body)
	}
	if code := r.Stop(); code != 0 {
		t.Errorf("stopping ended with %d:\n%s", code, r.Stderr)
	}
}

func TestRun_OperatorsPort(t *testing.T) {
	r := start(t)
	if code, _ := daemontest.Get(t, r.admin+"/livez"); code != 200 {
		t.Errorf("/livez: %d", code)
	}
	daemontest.AwaitStatus(t, r.admin+"/readyz", 200)
	_, metrics := daemontest.Get(t, r.admin+"/metrics")
	for _, name := range []string{"tidings_build_info", "tidings_edge_", "tidings_publisher_", "tidings_bus_", "go_goroutines"} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("no %s among the metrics", name)
		}
	}
	for line := range strings.Lines(metrics) {
		if name, ok := strings.CutPrefix(line, "# TYPE tidings_"); ok && !strings.Contains(metrics, "# HELP tidings_"+strings.Fields(name)[0]+" ") {
			t.Errorf("no help: %s", line)
		}
	}
}

func TestRun_PublishedMessageArrivesAndIsKept(t *testing.T) {
	r := start(t)
	code, seq, stderr := invoke(t, "", "pub", "--nats", r.nats, "demo.hello", `{"text": "hi"}`)
	if code != 0 || strings.TrimSpace(seq) == "" {
		t.Fatalf("pub: %d %s", code, stderr)
	}
	code, stdout, stderr := invoke(t, "", "last", "--url", r.url, "--json", "demo.>")
	if code != 0 || !strings.Contains(stdout, `"payload":{"text": "hi"}`) || !strings.Contains(stdout, `"seq":`+strings.TrimSpace(seq)) {
		t.Errorf("last: %d %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = invoke(t, "", "sub", "--url", r.url, "--last", "5", "--count", "1", "demo.hello")
	if code != 0 || !strings.HasSuffix(stdout, " demo.hello #"+strings.TrimSpace(seq)+` {"text":"hi"}`+"\n") {
		t.Errorf("sub: %d %s%s", code, stdout, stderr)
	}
	if code, stdout, _ = invoke(t, "", "last", "--url", r.url, "nothing.here"); code != 3 || stdout != "" {
		t.Errorf("last of nothing: %d %s", code, stdout)
	}
	if code := r.Stop(); code != 0 {
		t.Errorf("stopping ended with %d:\n%s", code, r.Stderr)
	}

	again := start(t, "--data-dir", r.dir)
	if code, stdout, stderr = invoke(t, "", "last", "--url", again.url, "demo.hello"); code != 0 {
		t.Errorf("after a restart: %d %s%s", code, stdout, stderr)
	}
}

func TestRun_SaysWhatIsTaken(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	r := start(t)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"listen", []string{"--listen", busy.Addr().String()}, "choose another address with --listen"},
		{"admin", []string{"--admin", busy.Addr().String()}, "choose another address with --admin"},
		{"nats-listen", []string{"--nats-listen", busy.Addr().String()}, "--nats-listen"},
		{"data-dir", []string{"--data-dir", r.dir}, "--data-dir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"run", "--listen", "127.0.0.1:0", "--admin", "none", "--nats-listen", "none", "--data-dir", t.TempDir()}, c.args...)
			code, stdout, stderr := invoke(t, "", args...)
			if code != 75 || !strings.Contains(stderr, "tidings: ") || !strings.Contains(stderr, c.want) || strings.Contains(stdout, "running") {
				t.Errorf("ended with %d:\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestRun_TellsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("TIDINGS_HEARTBEAT", "1ms")
	t.Setenv("TIDINGS_STREAM_MAX_AGE", "1ms")
	t.Setenv("TIDINGS_HOST_INTERVAL", "1ms")
	code, _, stderr := invoke(t, "", "run", "--listen", "x", "--nats-listen", "y")
	for _, want := range []string{
		"\n  listen: ", "(--listen)\n", "\n  nats.listen: ", "\n  heartbeat: ", "(TIDINGS_HEARTBEAT)\n", "\n  stream.max_age: ", "\n  host.interval: ",
	} {
		if !strings.Contains(stderr+"\n", want) {
			t.Errorf("no %q", want)
		}
	}
	if code != 78 || t.Failed() {
		t.Errorf("ended with %d:\n%s", code, stderr)
	}
}

func TestRun_MisspeltCommandIsUsage(t *testing.T) {
	if code, _, stderr := invoke(t, "", "sbu"); code != 2 || !strings.Contains(stderr, "sub") {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

func TestHelp_TeachesEachCommand(t *testing.T) {
	for _, command := range [][]string{nil, {"run"}, {"sub"}, {"last"}, {"pub"}, {"token"}, {"token", "make"}, {"token", "key"}, {"token", "explain"}} {
		code, stdout, stderr := invoke(t, "", append(command, "--help")...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "Examples:") {
			t.Errorf("%q: %d\n%s%s", command, code, stdout, stderr)
		}
		if len(command) > 0 && !strings.Contains(stdout, "Exit codes:") {
			t.Errorf("%q tells no exit codes", command)
		}
	}
}

func TestDataDir_FallsBackToTemporary(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	data := t.TempDir()
	for _, c := range []struct{ name, xdg, home, want string }{
		{"XDG", data, "/nowhere", filepath.Join(data, "tidings")},
		{"home", "", data, filepath.Join(data, ".local/share/tidings")},
		{"relative XDG is ignored", "data", data, filepath.Join(data, ".local/share/tidings")},
		{"home that is none", "", blocked, os.TempDir()},
		{"XDG that is none", blocked, data, os.TempDir()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", c.xdg)
			t.Setenv("HOME", c.home)
			dir, err := dataDir("", quiet)
			if err != nil || !strings.HasPrefix(dir, c.want) {
				t.Errorf("got %q, %v; want %q", dir, err, c.want)
			}
		})
	}
	if _, err := dataDir(filepath.Join(blocked, "dir"), quiet); err == nil {
		t.Error("a directory that was asked for and cannot be made is no error")
	}
}
