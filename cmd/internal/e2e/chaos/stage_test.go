//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// What this test binary is run as: it plays several parts, each in a process of its own.
const (
	roleVariable = "CHAOS_ROLE"
	roleStage    = "stage" // the tests, in namespaces of their own
	roleNATS     = "nats"  // a nats-server
	roleCrowd    = "crowd" // clients
)

// How a run is asked for.
const (
	askVariable     = "CHAOS"         // 1: run the scenarios; full: with every pause as long as it is promised for
	seedVariable    = "CHAOS_SEED"    // of a run that is to be had again
	historyVariable = "CHAOS_HISTORY" // a directory for the histories; by default they are forgotten
)

// patience is how long anything may take on a machine that is busy with other tests.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); {
	case role == roleNATS:
		os.Exit(serveNATS(os.Args[1]))
	case role == roleCrowd:
		os.Exit(gather(os.Stdin, os.Stdout))
	case role == roleStage:
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "furnish the stage:", err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m)
	case asked() && lacking() == "":
		os.Exit(enter())
	default:
		goleak.VerifyTestMain(m)
	}
}

func asked() bool { return os.Getenv(askVariable) != "" }

// full tells that pauses are to be as long as what is promised, rather than just long enough to show it.
func full() bool { return os.Getenv(askVariable) == "full" }

// lacking names what this machine cannot do, and how to mend it.
func lacking() string {
	if os.Geteuid() != 0 {
		return "root, for network namespaces: run it by sudo"
	}
	var missing []string
	for _, program := range []string{"haproxy", "ip", "tc", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return strings.Join(missing, ", ") + ": install them, on Debian by apt-get install haproxy iproute2 iptables"
	}
	return ""
}

// scene begins a scenario, unless it was not asked for or cannot be played here. A CI that tests nothing must not pass.
func scene(t *testing.T) (seed uint64) {
	t.Helper()
	if !asked() {
		t.Skipf("a whole cluster, for minutes: run it by make e2e, or %s=1 go test -run '^%s$'", askVariable, t.Name())
	}
	if missing := lacking(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("missing for this test: %s", missing)
		}
		t.Skipf("missing for this test: %s", missing)
	}
	seed = rand.Uint64N(1e9)
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	return seed
}

// enter runs the tests again in namespaces of their own: of networks, so that nothing touches the machine's; of mounts and
// processes, so that the system clears everything away when the first process ends, whichever way.
func enter() int {
	runtime.LockOSThread() // Pdeathsig is sent when this thread ends
	stage := exec.Command("/proc/self/exe", os.Args[1:]...)
	stage.Env = append(os.Environ(), roleVariable+"="+roleStage, "TMPDIR="+stageDir)
	stage.Stdin, stage.Stdout, stage.Stderr = os.Stdin, os.Stdout, os.Stderr
	stage.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := stage.Run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		return max(ended.ExitCode(), 1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "enter the stage:", err)
		return 1
	}
	return 0
}

// stageDir is where all is written that a run leaves behind: in memory, on the stage's own /run.
const stageDir = "/run/chaos"

// furnish gives the stage a /proc, a /run and a network that nobody else sees.
func furnish() error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"keep mounts to ourselves", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount /proc", func() error { return unix.Mount("proc", "/proc", "proc", 0, "") }},
		{"mount /run", func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") }},
		{"make " + stageDir, func() error { return os.Mkdir(stageDir, 0o700) }},
		{"bring up lo", func() error { return ip("link set lo up") }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// eventually asks until the answer is nil, and otherwise fails with the last one.
func eventually(t testing.TB, what string, ask func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}
