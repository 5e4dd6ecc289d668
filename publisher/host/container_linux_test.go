package host

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// inContainer, if set, makes the test binary the process in the container: the
// directory with the mount points.
const inContainer = "TIDINGS_TEST_CONTAINER"

// From within namespaces of its own for network, processes, mounts and host name,
// as a container has them, the publisher sees the host.
func TestContainer_SeesTheHost(t *testing.T) {
	if dir := os.Getenv(inContainer); dir != "" {
		beatInContainer(t, dir)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make namespaces")
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestContainer_SeesTheHost$", "-test.v")
	child.Env = append(os.Environ(), inContainer+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS,
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var seen Metrics
	text, err := os.ReadFile(filepath.Join(dir, "metrics.json"))
	if err != nil {
		t.Skip("this machine allows no mounts: ", err)
	}
	if err := json.Unmarshal(text, &seen); err != nil {
		t.Fatal(err)
	}
	sources, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	own, _ := beat[Metrics](t, sources[0])
	if !slices.Equal(interfaces(seen), interfaces(own)) {
		t.Errorf("interfaces %v, the host's are %v", interfaces(seen), interfaces(own))
	}
	if !slices.Equal(mountpoints(seen), mountpoints(own)) {
		t.Errorf("filesystems %v, the host's are %v", mountpoints(seen), mountpoints(own))
	}
	if n, want := seen.Processes.Count, own.Processes.Count; n < want/2 || n < 3 {
		t.Errorf("%d processes, the host has %d", n, want)
	}
	if seen.CPU.LogicalCount != own.CPU.LogicalCount || seen.Memory.Limit != own.Memory.Limit {
		t.Errorf("%s, the host is %s", show(seen), show(own))
	}
}

// beatInContainer mounts what an operator would mount, then hides the host.
func beatInContainer(t *testing.T, dir string) {
	mount := func(source, target, kind string, flags uintptr) bool {
		err := syscall.Mount(source, target, kind, flags, "")
		if err != nil {
			t.Logf("mount %s: %v", target, err)
		}
		return err == nil
	}
	if !mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE) {
		return
	}
	for _, m := range []struct{ source, target string }{{"/", "root"}, {"/proc", "proc"}, {"/sys", "sys"}} {
		target := filepath.Join(dir, m.target)
		if err := os.Mkdir(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if !mount(m.source, target, "", syscall.MS_BIND|syscall.MS_REC) {
			return
		}
	}
	if !mount("proc", "/proc", "proc", 0) {
		return
	}
	sources, err := New(Config{
		Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Root: filepath.Join(dir, "root"),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := beat[Metrics](t, sources[0])
	if err != nil {
		t.Log(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "metrics.json"), []byte(show(m)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func interfaces(m Metrics) []string {
	names := []string{}
	for _, n := range m.Networks {
		names = append(names, n.Interface)
	}
	return names
}

func mountpoints(m Metrics) []string {
	points := []string{}
	for _, f := range m.Filesystems {
		points = append(points, f.Mountpoint)
	}
	return points
}
