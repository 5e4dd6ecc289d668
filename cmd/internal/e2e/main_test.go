//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidings/publisher/docker/dockertest"
)

// patience is how long anything may take on a machine that is busy with other tests. Promises in time are checked by the
// clocks of what happened, not by it.
const patience = 40 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(stage{dockertest.Main(m)}) }

// stage gives the tests a directory for all that they and their processes write, so that afterwards one can see whether
// something was left behind.
type stage struct{ tests dockertest.Tests }

func (s stage) Run() int {
	dir, err := os.MkdirTemp("", "e2e-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the tests:", err)
		return 1
	}
	code := s.tests.Run()
	programs.remove()
	if err := leftBehind(dir); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: left behind:", err)
		code = max(code, 1)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = max(code, 1)
	}
	return code
}

// leftBehind names the processes, mounts and files that the tests have not cleared away.
func leftBehind(dir string) error {
	var faults []error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		faults = processesOf(dir) // one that was told to end may need a moment
		if len(faults) == 0 || time.Now().After(deadline) {
			break
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	faults = append(faults, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			faults = append(faults, fmt.Errorf("mount %s", strings.TrimSpace(line)))
		}
	}
	files, err := os.ReadDir(dir)
	faults = append(faults, err)
	for _, file := range files {
		faults = append(faults, fmt.Errorf("file %s", file.Name()))
	}
	return errors.Join(faults...)
}

// processesOf looks for dir in what processes were called with and in their environment: all that were started here
// have it in their TMPDIR at least.
func processesOf(dir string) (found []error) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range all {
		if filepath.Base(process) == fmt.Sprint(os.Getpid()) {
			continue
		}
		command, err := os.ReadFile(process + "/cmdline") // empty for one that has ended already
		if err != nil || len(command) == 0 {
			continue
		}
		environment, _ := os.ReadFile(process + "/environ")
		if bytes.Contains(command, []byte(dir)) || bytes.Contains(environment, []byte("TMPDIR="+dir)) {
			found = append(found, fmt.Errorf("process %s %q", filepath.Base(process), bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// programs are ours, built by the first test that starts one.
var programs built

type built struct {
	once sync.Once
	dir  string
	err  error
}

// path is where a program is.
func (b *built) path(t testing.TB, name string) string {
	t.Helper()
	b.once.Do(b.build)
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, name)
}

// build makes them as `make build` does; with the race detector in them where the tests have it in theirs.
func (b *built) build() {
	if b.dir, b.err = os.MkdirTemp("", "bin"); b.err != nil {
		return
	}
	args, cgo := []string{"build", "-trimpath"}, "CGO_ENABLED=0"
	if raceDetector {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	build := exec.Command("go", append(args, "-o", b.dir, "tidings/cmd/tidings", "tidings/cmd/edge", "tidings/cmd/publisher")...)
	build.Env = append(os.Environ(), cgo)
	if said, err := build.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the programs: %w\n%s", err, said)
	}
}

func (b *built) remove() {
	if err := os.RemoveAll(b.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err)
	}
}

// lacking ends the test because this machine cannot run it. A CI that tests nothing must not pass.
func lacking(t testing.TB, what, remedy string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing for this test: %s", what, remedy)
	}
	t.Skipf("%s is missing for this test: %s", what, remedy)
}

// eventually asks until the answer is nil, and otherwise fails with the last one.
func eventually(t testing.TB, what string, within time.Duration, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", within, what, err)
		}
	}
}
