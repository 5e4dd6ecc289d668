package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/cmd/internal/daemontest"
)

// small is a load for a machine that has other things to do.
var small = []string{"--clients", "20", "--rate", "50", "--duration", "300ms", "--warmup", "100ms"}

func TestBench_MeasuresWhatRuns(t *testing.T) {
	r := start(t)
	args := append([]string{"bench", "--url", r.url, "--nats", r.nats}, small...)
	code, stdout, stderr := invoke(t, "", args...)
	if code != 0 || !strings.HasPrefix(stdout, "20 clients, 1 topic, 50 msg/s, 512 bytes\n") || !strings.Contains(stdout, "300 of 300") ||
		!strings.Contains(stdout, "none missing") || stderr != "" {
		t.Errorf("table: %d\n%s%s", code, stdout, stderr)
	}

	picture := filepath.Join(t.TempDir(), "latency.svg")
	code, stdout, stderr = invoke(t, "", append(args, "--format", "json", "--svg", picture, "--topics", "4", "--subscriptions", "2")...)
	var result struct {
		Load       struct{ Clients, Topics int }
		Deliveries struct{ Expected, Arrived int }
		Latency    struct{ P99 float64 } `json:"latency_ms"`
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("json: %v: %d %s%s", err, code, stdout, stderr)
	}
	if d := result.Deliveries; code != 0 || result.Load.Topics != 4 || d.Expected != 150 || d.Arrived != 150 || result.Latency.P99 <= 0 {
		t.Errorf("json: %d\n%s%s", code, stdout, stderr)
	}
	if svg, err := os.ReadFile(picture); err != nil || !bytes.HasPrefix(svg, []byte("<svg ")) {
		t.Errorf("picture: %v\n%.100s", err, svg)
	}

	code, stdout, stderr = invoke(t, "", append(args, "--format", "hgrm")...)
	if code != 0 || !strings.Contains(stdout, "Percentile") || !strings.Contains(stdout, "#[Max") {
		t.Errorf("hgrm: %d\n%s%s", code, stdout, stderr)
	}
}

func TestBench_FlagsWinOverTheScenario(t *testing.T) {
	r := start(t)
	code, stdout, stderr := invoke(t, "", append([]string{"bench", "--url", r.url, "--nats", r.nats, "--name", "dashboards"}, small...)...)
	if code != 0 || !strings.HasPrefix(stdout, "20 clients, 50 topics, all of them each, 50 msg/s in bursts of 50, 512 bytes\n") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

func TestBench_ListsScenarios(t *testing.T) {
	code, stdout, stderr := invoke(t, "", "bench", "--list")
	if code != 0 || !strings.Contains(stdout, "unbatched") || !strings.Contains(stdout, "1,000 clients, 1 topic, 300 msg/s, 512 bytes") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

func TestBench_ExitCodes(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	_ = gone.Close()
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no edge", []string{"--rate", "0", "--url", "ws://" + nobody + "/ws"}, 75, "start one with `tidings run`, or name another with --url"},
		{"no NATS", []string{"--nats", "nats://" + nobody}, 75, "start one with `tidings run`, or name another with --nats"},
		{"too many clients", []string{"--clients", "1000000000"}, 75, "--clients"},
		{"scenario", []string{"--name", "none"}, 2, "--name: there is no \"none\", but unbatched,"},
		{"format", []string{"--format", "xml"}, 2, "--format: "},
		{"flag", []string{"--client", "3"}, 2, "did you mean --clients?"},
		{"value", []string{"--size", "3", "--slow", "2"}, 2, "--slow: "},
		{"zero", []string{"--clients", "0", "--duration", "0s"}, 2, "--clients: must be above 0\n--duration: must be above 0"},
		{"picture", []string{"--svg", t.TempDir()}, 2, "--svg: open "},
		{"report's file", []string{"report", "--out", t.TempDir() + "/none/B.md"}, 2, "--out: open "},
		{"argument", []string{"busy"}, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := invoke(t, "", append([]string{"bench"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.want) || !strings.HasPrefix(stderr, "tidings: ") || stdout != "" {
				t.Errorf("ended with %d, want %d: %s%s", code, c.code, stdout, stderr)
			}
		})
	}
}

func TestBench_InterruptPrintsWhatWasMeasured(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"tidings", "bench", "--url", r.url, "--nats", r.nats, "--clients", "10", "--rate", "50", "--duration", "1h", "--warmup", "0s"},
		strings.NewReader(""), &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "(stopped before its end)") || !strings.Contains(stdout.String(), "none missing") {
		t.Errorf("%d\n%s%s", code, &stdout, &stderr)
	}
}

func TestBench_FloorIsAProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process costs is measured on Linux only")
	}
	t.Setenv(asProgram, "1")
	r := start(t)
	for _, named := range [][]string{nil, {"--name", "unbatched"}} {
		code, stdout, stderr := invoke(t, "", slices.Concat([]string{"bench", "--floor", "--nats", r.nats}, named, small)...)
		if code != 0 || !strings.Contains(stdout, "300 of 300") || !strings.Contains(stdout, "\n  floor ") {
			t.Errorf("%q: %d\n%s%s", named, code, stdout, stderr)
		}
	}

	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	_ = gone.Close()
	code, _, stderr := invoke(t, "", append([]string{"bench", "--floor", "--nats", "nats://ada:hunter2@" + nobody}, small...)...)
	want := regexp.MustCompile(`^tidings: start bench serve floor: .*connect.*\nstart one with .tidings run., or name another with --nats\n$`)
	if code != 75 || !want.MatchString(stderr) || strings.Contains(stderr, "hunter2") {
		t.Errorf("without NATS it ended with %d: %s", code, stderr)
	}
}

func TestBenchReport_MeasuresEdgeAndFloorOfItsOwn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process costs is measured on Linux only")
	}
	t.Setenv(asProgram, "1")
	dir := t.TempDir()
	out, svg := filepath.Join(dir, "B.md"), filepath.Join(dir, "B.svg")
	code, stdout, stderr := invoke(t, "", "bench", "report", "--name", "dashboards,idle,two-edges", "--repeat", "1", "--clients", "10",
		"--duration", "200ms", "--warmup", "100ms", "--settle", "10ms", "--out", out, "--svg", svg)
	if code != 0 || stdout != "" || !strings.Contains(stderr, "dashboards, floor (1 of 3)\nround 1 of 1: dashboards, edge (1 of 3)\nround 1 of 1: idle, edge (2 of 3)\nround 1 of 1: two-edges, edge (3 of 3)\n") {
		t.Fatalf("%d\n%s%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Benchmarks\n", "| **dashboards** | CPU per delivery | ", "| **idle** | memory per connection | ", strconv.Itoa(runtime.NumCPU()) + " cores", "](BENCHMARKS.svg)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if picture, err := os.ReadFile(svg); err != nil || bytes.Count(picture, []byte(`class="curve`)) != 2 {
		t.Errorf("picture: %v\n%.100s", err, picture)
	}
}

func TestBenchReport_MeasuresAProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process costs is measured on Linux only")
	}
	t.Setenv(asProgram, "1")
	edge := filepath.Join(t.TempDir(), "edge")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", edge, "tidings/cmd/edge").CombinedOutput(); err != nil {
		t.Fatalf("build an edge: %v\n%s", err, text)
	}
	few := []string{"bench", "report", "--name", "dashboards", "--repeat", "1", "--clients", "10", "--duration", "200ms", "--warmup", "100ms", "--settle", "10ms"}
	code, stdout, stderr := invoke(t, "", append(few, "--edge", edge)...)
	if code != 0 || !strings.Contains(stdout, "| **dashboards** | CPU per delivery | ") {
		t.Fatalf("%d\n%s%s", code, stdout, stderr)
	}
	for program, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		"/bin/true":                        "it ended without having served", // an edge that says nothing
	} {
		if code, _, stderr := invoke(t, "", append(few, "--edge", program)...); code != 1 || !strings.Contains(stderr, "start "+program) || !strings.Contains(stderr, want) {
			t.Errorf("--edge %s ended with %d: %s", program, code, stderr)
		}
	}
}

func TestBenchHelp_Teaches(t *testing.T) {
	for _, command := range [][]string{{"bench"}, {"bench", "report"}} {
		code, stdout, stderr := invoke(t, "", append(command, "--help")...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "Examples:") || !strings.Contains(stdout, "Exit codes:") {
			t.Errorf("%q: %d\n%s%s", command, code, stdout, stderr)
		}
	}
}

func TestBenchServe_EndsWithItsInput(t *testing.T) {
	code, stdout, _ := daemontest.Invoke(t, run, "", "tidings", "bench", "serve", "nats")
	if code != 0 || !strings.HasPrefix(stdout, "nats://127.0.0.1:") {
		t.Errorf("%d %s", code, stdout)
	}
}
