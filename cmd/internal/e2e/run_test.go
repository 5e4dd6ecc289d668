//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// tidings is `tidings run` in a process of its own.
type tidings struct {
	*program
	dir    string
	page   string // URL
	socket string // URL of its WebSockets
	admin  string // URL of the operator's port
	nats   string // URL
}

// run starts everything on free ports and returns when it serves.
func run(t testing.TB, dir string, args ...string) tidings {
	t.Helper()
	return runWith(t, dir, nil, args...)
}

func runWith(t testing.TB, dir string, env []string, args ...string) tidings {
	t.Helper()
	all := []string{"run", "--data-dir", dir, "--docker-host", "unix:///nowhere/docker.sock"}
	for flag, address := range map[string]string{"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", "--nats-listen": "127.0.0.1:0"} {
		if !slices.Contains(args, flag) {
			all = append(all, flag, address)
		}
	}
	r := tidings{program: launch(t, command{path: programs.path(t, "tidings"), args: append(all, args...), env: env}), dir: dir}
	r.await(r.stdout, "ctrl-C")
	r.page = r.await(r.stdout, `open +(http://\S+/)\n`)
	r.admin = r.await(r.stdout, `operate +(http://[^/]+)/`)
	r.nats = r.await(r.stdout, `nats +(nats://\S+)\n`)
	r.socket = "ws" + strings.TrimPrefix(r.page, "http") + "ws"
	return r
}

// address is host:port of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

func TestRun_PushesThisMachinesMetrics(t *testing.T) {
	t.Parallel()
	programs.path(t, "tidings") // building it takes time that is not Tidings'
	began := time.Now()
	r := run(t, t.TempDir())
	client := dial(t, r.socket)
	client.subscribe("metrics.*", "host.*")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(strings.ToLower(name), "-")

	first := client.await("metrics."+token, "metrics", always)
	if took := first.arrived.Sub(began); took > 5*time.Second {
		t.Errorf("the first metrics came %v after the start", took)
	}
	documented := documentedKeys(t, "metrics.<host>")
	var missing []string
	readings := 0
	m := client.await("metrics."+token, "metrics with all that a second reading tells", func(m message) bool {
		got := keys("", payload[any](t, m))
		for _, key := range got {
			if !slices.Contains(documented, key) {
				t.Errorf("PAYLOADS.md knows no %s", key)
			}
		}
		missing = slices.DeleteFunc(slices.Clone(onAnyLinux), func(key string) bool { return slices.Contains(got, key) })
		readings++
		return len(missing) == 0 || readings == 10
	})
	if len(missing) > 0 {
		t.Errorf("the tenth reading still lacks %v: %s", missing, m.raw)
	}
	metrics := payload[struct {
		Host string
		CPU  struct {
			Utilization  float64
			LogicalCount int
			Cores        []float64
		}
		Memory          struct{ Limit, Used, Available uint64 }
		UptimeSeconds   float64
		IntervalSeconds float64
	}](t, m)
	if metrics.Host != name || metrics.IntervalSeconds != 1 || metrics.UptimeSeconds <= 0 ||
		metrics.CPU.Utilization < 0 || metrics.CPU.Utilization > 1 || len(metrics.CPU.Cores) != metrics.CPU.LogicalCount ||
		metrics.Memory.Used == 0 || metrics.Memory.Used+metrics.Memory.Available != metrics.Memory.Limit {
		t.Errorf("got %+v", metrics)
	}
	for range 3 {
		m = client.await("metrics."+token, "metrics", always)
	}
	if m.Type != "metrics" || m.Seq == 0 || m.Timestamp == 0 || time.Since(time.UnixMilli(m.Timestamp)) > patience {
		t.Errorf("got %v", m)
	}
	chained(t, client.of("metrics."+token))

	host := client.await("host."+token, "the host", always)
	for _, key := range keys("", payload[any](t, host)) {
		if !slices.Contains(documentedKeys(t, "host.<host>"), key) {
			t.Errorf("PAYLOADS.md knows no %s", key)
		}
	}
	facts := payload[struct{ Name, OS, Kernel, PublisherVersion string }](t, host)
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil || facts.Name != name || facts.OS != "linux" || facts.Kernel != strings.TrimSpace(string(release)) || facts.PublisherVersion == "" {
		t.Errorf("got %+v", facts)
	}
}

// onAnyLinux are the keys of metrics.<host> that no Linux machine has a reason to lack once two readings were taken.
var onAnyLinux = []string{
	"intervalSeconds", "host", "cpu.utilization", "cpu.logicalCount", "cpu.modes.user", "cpu.modes.system", "cpu.modes.iowait",
	"cpu.modes.steal", "cpu.cores", "load", "memory.limit", "memory.used", "memory.available", "memory.free", "memory.cached",
	"memory.buffers", "memory.utilization", "swap.limit", "filesystems[].mountpoint", "filesystems[].limit", "filesystems[].used",
	"filesystems[].free", "filesystems[].utilization", "filesystems[].device", "filesystems[].type", "networks[].interface",
	"networks[].receiveBytes", "networks[].receiveBytesPerSecond", "networks[].transmitBytesPerSecond", "uptimeSeconds",
	"processes.count", "processes.top[].pid", "processes.top[].name", "processes.top[].cpuCores", "processes.top[].memoryBytes",
}

// keys lists the keys of a JSON value and of all within it, as in disks[].device.
func keys(path string, value any) (all []string) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			all = append(all, keys(strings.TrimPrefix(path+"."+key, "."), inner)...)
		}
	case []any:
		for _, inner := range value {
			all = append(all, keys(path+"[]", inner)...)
		}
	default:
		all = append(all, strings.TrimSuffix(path, "[]"))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// documentedKeys is the first column of the table that PAYLOADS.md has on a topic.
func documentedKeys(t testing.TB, topic string) (all []string) {
	t.Helper()
	page, err := os.ReadFile("../../../publisher/PAYLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## `"+topic+"`")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		all = append(all, row[1])
	}
	if len(all) == 0 {
		t.Fatalf("PAYLOADS.md does not tell of %s", topic)
	}
	return all
}

func TestRun_ServesThePageAndTheOperator(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	if status, body := get(t, r.page); status != 200 || !strings.Contains(body, "<title>Tidings</title>") {
		t.Errorf("the page: %d %.200s", status, body)
	}
	if status, body := get(t, r.admin+"/livez"); status != 200 {
		t.Errorf("/livez: %d %s", status, body)
	}
	ready(t, r.admin)
	client := dial(t, r.socket)
	client.subscribe("metrics.*", "host.*")
	_, body := get(t, r.admin+"/metrics")
	for _, want := range []string{
		"tidings_build_info{", "tidings_edge_connections 1", "tidings_edge_subscriptions 2", `tidings_edge_handshakes_total{result="ok"} 1`,
		"tidings_edge_delivery_lag_seconds_bucket{", "tidings_edge_loop_turn_seconds_bucket{", "tidings_bus_connected 1",
		`tidings_edge_gaps_total{reason="slow"} 0`, `tidings_edge_closes_total{code="4408"} 0`, "tidings_publisher_", "go_goroutines ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "# TYPE tidings_"); ok {
			if name := "tidings_" + strings.Fields(rest)[0]; !regexp.MustCompile(`# HELP ` + name + ` \S+`).MatchString(body) {
				t.Errorf("%s has no help", name)
			}
		}
	}
	// The two ports are apart: what operators see is not for clients.
	for _, path := range []string{"metrics", "livez", "readyz", "debug/pprof/"} {
		if status, _ := get(t, r.page+path); status != 404 {
			t.Errorf("/%s on the clients' port: %d", path, status)
		}
	}
}

func TestRun_StopsCleanlyAndGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	client := dial(t, r.socket)
	epoch := client.subscribe("demo.*", "metrics.*")[0].Epoch
	tool(t, `{"n":1}`, 0, "pub", "--nats", r.nats, "demo.kept", "-")
	kept := client.await("demo.kept", "what was published", always)

	began := time.Now()
	r.signal(syscall.SIGTERM)
	client.await("going_away", "the word to leave", always)
	<-client.ended
	if code := websocket.CloseStatus(client.err); code != 1012 {
		t.Errorf("the client was closed with %v", client.err)
	}
	if code := r.exit(); code != 0 {
		t.Errorf("ended with %d:\n%s", code, r.stderr)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for _, url := range []string{r.page, r.admin, r.nats} {
		l, err := net.Listen("tcp", address(url))
		if err != nil {
			t.Errorf("its port is not free: %v", err)
			continue
		}
		l.Close()
	}

	again := run(t, r.dir, "--listen", address(r.page), "--admin", address(r.admin), "--nats-listen", address(r.nats))
	restarted := time.Now()
	if again.page != r.page {
		t.Errorf("it was told %s, and listens at %s", r.page, again.page)
	}
	second := dial(t, again.socket)
	at := position{epoch, kept.Seq - 1}
	if ack := second.subscribe(want{Topic: "demo.*", Since: &at})[0]; ack.Recovered == nil || !*ack.Recovered || ack.Epoch != epoch {
		t.Errorf("asked for what came after %v, acked %+v", at, ack)
	}
	if m := second.await("demo.kept", "what was published before", always); m.raw != kept.raw {
		t.Errorf("was %v, and is %v", kept, m)
	}
	tool(t, "", 0, "pub", "--nats", again.nats, "demo.kept", `{"n":2}`)
	if m := second.await("demo.kept", "what is published now", always); m.Prev != kept.Seq {
		t.Errorf("%v does not follow %v", m, kept)
	}
	second.subscribe("metrics.*")
	eventually(t, "new metrics", patience, func() error {
		_, body := get(t, again.page+"last?topic=metrics.*")
		var answer struct{ Messages []message }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return err
		}
		for _, m := range answer.Messages {
			if m.Timestamp > restarted.UnixMilli() {
				return nil
			}
		}
		return errors.New(body)
	})
	if took := time.Since(restarted); took > 6*time.Second {
		t.Errorf("the first metrics came %v after the second start", took)
	}
}

func TestRun_TwoOnOneDirectory(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	code, stdout, stderr := invoke(t, "", "tidings", "run", "--listen", "127.0.0.1:0", "--admin", "none", "--nats-listen", "none", "--data-dir", r.dir)
	if code != 75 || strings.Contains(stdout, "open") {
		t.Errorf("the second ended with %d:\n%s", code, stdout)
	}
	for _, want := range []string{"tidings: ", r.dir, "in use by another process", "--data-dir"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, stderr)
		}
	}
	ready(t, r.admin)
}

// A crash leaves nothing that keeps the next start from going on: what was acknowledged is there.
func TestRun_KilledGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	epoch := epochAt(t, r.socket)
	seq := strings.TrimSpace(tool(t, "", 0, "pub", "--nats", r.nats, "demo.kept", `"before"`))
	r.kill()
	again := run(t, r.dir)
	if got := epochAt(t, again.socket); got != epoch {
		t.Errorf("the epoch was %s, and is %s", epoch, got)
	}
	if got := tool(t, "", 0, "last", "--url", again.socket, "demo.*"); !strings.Contains(got, "demo.kept #"+seq+` "before"`) {
		t.Errorf("at %s was \"before\"; now %s", seq, got)
	}
}

// Its client does not leave, so it drains for long: a second signal is for somebody who does not want to wait.
func TestRun_SecondSIGTERMEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := runWith(t, t.TempDir(), []string{"TIDINGS_DRAIN_GRACE=10m", "TIDINGS_DRAIN_WINDOW=9m"})
	client := dial(t, r.socket)
	r.signal(syscall.SIGTERM)
	client.await("going_away", "the word to leave", always)
	r.signal(syscall.SIGTERM)
	signalled := time.Now()
	if code := r.exit(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %d", code)
	}
	if took := time.Since(signalled); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestRun_UnwritableDirectoryIsSaid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := invoke(t, "", "tidings", "run", "--listen", "127.0.0.1:0", "--admin", "none", "--nats-listen", "none", "--data-dir", file+"/data")
	if code != 78 || !strings.Contains(stderr, file) || !strings.Contains(stderr, "--data-dir") {
		t.Errorf("ended with %d: %s", code, stderr)
	}
}

// tool runs a tool of tidings, which has to end with a code, and returns what it printed.
func tool(t testing.TB, stdin string, code int, args ...string) string {
	t.Helper()
	got, stdout, stderr := invoke(t, stdin, "tidings", args...)
	if got != code {
		t.Fatal(fmt.Errorf("tidings %s ended with %d: %s%s", strings.Join(args, " "), got, stdout, stderr))
	}
	return stdout
}
