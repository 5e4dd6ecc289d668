package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse[T any](t testing.TB, name string) (value T) {
	t.Helper()
	if err := json.Unmarshal(fixture(t, name), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestRecord_OfDockersAnswer(t *testing.T) {
	got := recordReader{}.inspected("docker", parse[container.InspectResponse](t, "inspect_docker.json"))
	want := Container{
		ID: "abd1a877adcea65af09e61e1cea333d5bbf1c12067232b78f90241bb0882df1e", Name: "aa", Image: "tidings-probe",
		ImageID:   "sha256:b3cc6d6955cd0e2d6de2a788e23f00160bc5b387a5fa86d3f2b391a9e691467a",
		Course:    Course{State: "running", Health: "healthy", StartedAt: 1795385646337, FinishedAt: got.FinishedAt},
		CreatedAt: 1795383574494, Ports: []Port{{IP: "127.0.0.1", PrivatePort: 80, PublicPort: 32769, Protocol: "tcp"}},
		Networks: []string{"lan"}, CPULimit: 0.5, MemoryLimit: 100_000_000, Runtime: "docker",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got.FinishedAt == 0 || got.FinishedAt > got.StartedAt {
		t.Errorf("the run before ended at %d, this one began at %d", got.FinishedAt, got.StartedAt)
	}
}

func TestRecord_OfPodmansAnswer(t *testing.T) {
	reader := recordReader{labels: allowList{"*"}}
	got := reader.inspected("podman", parse[container.InspectResponse](t, "inspect_podman.json"))
	want := Container{
		ID: "94ae4f5374ee2663cc6a693ff2dc71ff8264af9b1da43ac32dc56d581e429884", Name: "bb", Image: "docker.io/library/tidings-probe:latest",
		ImageID:   got.ImageID,
		Course:    Course{State: "running", Health: "none", StartedAt: 1795385649958},
		CreatedAt: 1795385649880, MemoryLimit: 100_000_000, Runtime: "podman", Labels: map[string]string{"team": "blue"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestRecord_AbsentMeansUnknown(t *testing.T) {
	text, err := json.Marshal(recordReader{}.inspected("docker", container.InspectResponse{ID: "1", Name: "/x"}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"1","name":"x","image":"","state":"created","health":"none","status":"","restartCount":0,"runtime":"docker","protected":false}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestRecord_StatesAndHealthsAreClosedLists(t *testing.T) {
	states := []string{"created", "running", "paused", "restarting", "removing", "exited", "dead"}
	for _, said := range append(slices.Clone(states), "", "configured", "initialized", "stopping", "stopped", "unknown", "Running") {
		if got := parseState(said); !slices.Contains(states, got) || slices.Contains(states, said) && got != said {
			t.Errorf("%q became %q", said, got)
		}
	}
	healths := []string{"none", "starting", "healthy", "unhealthy"}
	for _, said := range append(slices.Clone(healths), "", "running", "HEALTHY") {
		if got := parseHealth(said); !slices.Contains(healths, got) || slices.Contains(healths, said) && got != said {
			t.Errorf("%q became %q", said, got)
		}
	}
}

func TestRecord_LimitsInProcessors(t *testing.T) {
	for _, c := range []struct {
		said container.Resources
		want float64
	}{
		{container.Resources{}, 0},
		{container.Resources{NanoCPUs: 1_500_000_000}, 1.5},
		{container.Resources{CPUQuota: 50_000}, 0.5},
		{container.Resources{CPUQuota: 50_000, CPUPeriod: 10_000}, 5},
		{container.Resources{CPUQuota: -1, CPUPeriod: 10_000}, 0},
	} {
		if got := cpuLimit(c.said); got != c.want {
			t.Errorf("%d of %d, %d nano: got %v, want %v", c.said.CPUQuota, c.said.CPUPeriod, c.said.NanoCPUs, got, c.want)
		}
	}
}

func TestRecord_OfAnEngineThatWontSayMore(t *testing.T) {
	got := recordReader{}.listed("docker", container.Summary{
		ID: "1", Names: []string{"/stuck"}, Image: "web:2", ImageID: "sha256:1", Created: 1795383574, State: "restarting",
		Labels: map[string]string{"tidings.protected": "true", "com.docker.compose.project": "shop"},
	})
	want := Container{
		ID: "1", Name: "stuck", Image: "web:2", ImageID: "sha256:1", CreatedAt: 1795383574000, Runtime: "docker", Project: "shop",
		Course: Course{State: "restarting", Health: "none"}, Protected: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestRecord_LabelsThatNameWhereItBelongs(t *testing.T) {
	for _, c := range []struct {
		labels                           map[string]string
		project, service, pod, namespace string
	}{
		{map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}, "shop", "web", "", ""},
		{map[string]string{"io.podman.compose.project": "shop", "io.podman.compose.service": "web"}, "shop", "web", "", ""},
		{map[string]string{"com.docker.stack.namespace": "shop", "com.docker.swarm.service.name": "shop_web"}, "shop", "shop_web", "", ""},
		{map[string]string{"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "prod"}, "", "", "web-0", "prod"},
	} {
		var got Container
		recordReader{}.label(&got, c.labels)
		if got.Project != c.project || got.Service != c.service || got.Pod != c.pod || got.Namespace != c.namespace || got.Labels != nil {
			t.Errorf("%v became %+v", c.labels, got)
		}
	}
}

func TestProtected_OwnContainersAndThoseLabelledSo(t *testing.T) {
	reader := recordReader{self: "me"}
	for _, c := range []struct {
		id     string
		labels map[string]string
		want   bool
	}{
		{"it", nil, false},
		{"me", nil, true},
		{"it", map[string]string{"tidings.protected": "true"}, true},
		{"it", map[string]string{"tidings.protected": "false"}, false},
		{"it", map[string]string{"tidings.component": "edge"}, true},
	} {
		if got := reader.protects(c.id, c.labels); got != c.want {
			t.Errorf("%s with %v: %v", c.id, c.labels, got)
		}
	}
	if (recordReader{}).protects("", nil) {
		t.Error("outside of a container, nothing is oneself")
	}
}

func TestLabels_OnlyAllowedOnes(t *testing.T) {
	labels := map[string]string{"team": "blue", "team.lead": "ada", "org.example.a": "1", "org.example.b": "2", "secret": "hush"}
	got := allowList{"team", "org.example.*"}.of(labels)
	if want := map[string]string{"team": "blue", "org.example.a": "1", "org.example.b": "2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := (allowList{}).of(labels); got != nil {
		t.Errorf("by default: %v", got)
	}
	long := allowList{"*"}.of(map[string]string{"novel": strings.Repeat("é", maxLabel)})["novel"]
	if len(long) != maxLabel || strings.ContainsRune(long, '\uFFFD') {
		t.Errorf("a long one has %d bytes", len(long))
	}
}

func TestStatus_InTheWordsOfDockerPS(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	at := now.Add(-2 * time.Hour).UnixMilli()
	three := 3
	for _, c := range []struct {
		course Course
		want   string
	}{
		{Course{State: "created", Health: "none"}, "Created"},
		{Course{State: "running", Health: "none", StartedAt: at}, "Up 2 hours"},
		{Course{State: "running", Health: "healthy", StartedAt: at}, "Up 2 hours (healthy)"},
		{Course{State: "running", Health: "starting", StartedAt: at}, "Up 2 hours (health: starting)"},
		{Course{State: "running", Health: "none"}, "Up"},
		{Course{State: "running", Health: "none", StartedAt: now.UnixMilli() + 5000}, "Up Less than a second"}, // an engine whose clock is ahead
		{Course{State: "paused", Health: "healthy", StartedAt: at}, "Up 2 hours (Paused)"},
		{Course{State: "restarting", Health: "none", FinishedAt: at, ExitCode: &three}, "Restarting (3) 2 hours ago"},
		{Course{State: "exited", Health: "unhealthy", FinishedAt: at, ExitCode: &three}, "Exited (3) 2 hours ago"},
		{Course{State: "exited", Health: "none"}, "Exited (0)"},
		{Course{State: "removing", Health: "none"}, "Removal In Progress"},
		{Course{State: "dead", Health: "none"}, "Dead"},
	} {
		if got := c.course.status(now); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestRuntime_PodmanIsRecognised(t *testing.T) {
	for file, want := range map[string]string{"version_docker.json": "docker 20.10.24+dfsg1", "version_podman.json": "podman 4.3.1"} {
		version := parse[system.VersionResponse](t, file)
		got := recognise(version.Version, version.Components)
		if got.Name+" "+got.Version != want {
			t.Errorf("%s: %v", file, got)
		}
	}
}
