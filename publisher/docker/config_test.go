package docker

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestConfig_NamesEveryFaultByItsKey(t *testing.T) {
	err := Config{Host: "nonsense", Interval: time.Millisecond, ListInterval: time.Millisecond, Labels: []string{"", "a*b", "fine.*"}}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"host:", "interval:", "list_interval:", `labels: ""`, `labels: "a*b"`} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("no word on %s in %v", key, err)
		}
	}
	if strings.Contains(err.Error(), "fine") {
		t.Errorf("a fault where there is none: %v", err)
	}
	for _, host := range []string{"ssh://web-1", "npipe:////./pipe/docker", "unix://"} {
		if (Config{Host: host}).Validate() == nil {
			t.Errorf("%s accepted", host)
		}
	}
	for _, host := range []string{"", "unix:///run/docker.sock", "tcp://10.0.0.1:2376"} {
		if err := (Config{Host: host}).Validate(); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestConfig_ZeroIsTheDocumentedDefault(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Interval() != time.Second || s.listInterval != time.Minute || s.reader.labels != nil || s.Name() != "docker" || s.Runtimes() != nil {
		t.Errorf("%+v", s)
	}
}

func TestSockets_TheUsualPlacesInOrder(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CERT_PATH", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	want := []endpoint{
		{url: "unix:///run/docker.sock"}, {url: "unix:///var/run/docker.sock"}, {url: "unix:///run/user/7/docker.sock"},
		{url: "unix:///run/podman/podman.sock"}, {url: "unix:///run/user/7/podman/podman.sock"},
	}
	if got := endpoints(""); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := endpoints("unix:///mine.sock"); !slices.Equal(got, []endpoint{{url: "unix:///mine.sock"}}) {
		t.Errorf("the operator's: %v", got)
	}
	t.Setenv("DOCKER_HOST", "tcp://there:2376")
	if got := endpoints(""); !slices.Equal(got, []endpoint{{url: "tcp://there:2376"}}) {
		t.Errorf("the environment's: %v", got)
	}
	t.Setenv("DOCKER_CERT_PATH", "/certs")
	if got := endpoints(""); !slices.Equal(got, []endpoint{{url: "tcp://there:2376", tls: true}}) {
		t.Errorf("with certificates: %v", got)
	}
}

// Where there is no engine a publisher says so in a line that one can read, and does not call it a fault.
func TestSockets_WithoutAnEngineAreToldInOneLine(t *testing.T) {
	dir := t.TempDir()
	_, err := findEngine(t.Context(), []endpoint{{url: "unix://" + dir + "/a.sock"}, {url: "unix://" + dir + "/b.sock"}})
	want := "no container engine in reach: nothing listens at unix://" + dir + "/a.sock, unix://" + dir + "/b.sock"
	if !errors.Is(err, errAbsent) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestMetrics_ExistFromTheStart(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := New(Config{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]int)
	for _, f := range families {
		have[f.GetName()] = len(f.GetMetric())
	}
	for name, series := range map[string]int{
		"tidings_docker_engine_up": 1, "tidings_docker_events_total": len(eventNames), "tidings_docker_lists_total": 3,
		"tidings_docker_event_breaks_total": 2, "tidings_docker_stats_missing_total": 1,
	} {
		if have[name] != series {
			t.Errorf("%s has %d series, want %d", name, have[name], series)
		}
	}
	faults, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(faults) > 0 {
		t.Error(faults, err)
	}
	if _, err := New(Config{Registerer: registry}); err == nil {
		t.Error("a second source under the same names")
	}
}

// Every field of the payloads has its line in the documentation.
func TestDocumentation_NamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../PAYLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []reflect.Type{reflect.TypeFor[Container](), reflect.TypeFor[Course](), reflect.TypeFor[Stat]()} {
		for i := range payload.NumField() {
			field, _, _ := strings.Cut(payload.Field(i).Tag.Get("json"), ",")
			if field != "" && !strings.Contains(string(text), field+"`") {
				t.Errorf("no line on %s", field)
			}
		}
	}
}
