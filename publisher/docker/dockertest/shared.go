//go:build unix

package dockertest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the engine that the tests of one process have in common.
var shared struct {
	sync.Mutex
	engine *Engine
	err    error
}

// Shared is the engine that all tests of a process share: started by the first
// one that wants it, ended by Main. Names of containers have to differ.
func Shared(t testing.TB) *Engine {
	t.Helper()
	need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil && shared.err == nil {
		if !wrapped {
			t.Fatal("dockertest.Shared needs a TestMain that runs dockertest.Main(m), to end the engine")
		}
		shared.engine, shared.err = start()
	}
	if shared.err != nil {
		t.Fatalf("start a Docker Engine: %v", shared.err)
	}
	return shared.engine
}

// Main wraps the tests of a package, as its TestMain has them, so that the
// shared engine ends after them:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(dockertest.Main(m)) }
func Main(m Tests) Tests {
	wrapped = true
	return ending{m}
}

// Tests is what TestMain runs: *testing.M.
type Tests interface{ Run() int }

// wrapped says that Main was called.
var wrapped bool

type ending struct{ tests Tests }

func (e ending) Run() int {
	code := e.tests.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		return code
	}
	if err := shared.engine.end(); err != nil {
		fmt.Fprintln(os.Stderr, "end the Docker Engine:", err)
		code = max(code, 1)
	}
	shared.engine = nil
	return code
}

// need ends the test unless an engine can be had here.
func need(t testing.TB) {
	t.Helper()
	var lack string
	switch {
	case dockerd() == "":
		lack = "dockerd is not installed (Debian: apt-get install --no-install-recommends docker.io iptables)"
	case os.Getuid() != 0:
		lack = "dockerd needs root (sudo make test)"
	default:
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no Docker Engine for this test: %s", lack)
	}
	t.Skipf("no Docker Engine for this test: %s", lack)
}
