package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"tidings/cmd/internal/daemontest"
)

// asProgram makes the test binary be the program, for tests that need a process.
const asProgram = "RUN_AS_TIDINGS"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// invoke runs a command line until it ends by itself.
func invoke(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return daemontest.Invoke(t, run, stdin, append([]string{"tidings"}, args...)...)
}

// running is `tidings run` on ports of its own.
type running struct {
	*daemontest.Program
	url   string // for --url
	page  string // address of it
	admin string // address of the operator's port
	nats  string // for --nats
	dir   string // for --data-dir
}

// start runs everything in this process until the test ends, or it is stopped.
func start(t *testing.T, args ...string) running {
	t.Helper()
	r := running{dir: filepath.Join(t.TempDir(), "data")}
	r.Program = daemontest.Start(t, run, append([]string{"tidings", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--nats-listen", "127.0.0.1:0", "--data-dir", r.dir, "--log-level", "debug"}, args...)...)
	banner := func(pattern string) string { return r.Await(r.Stdout, regexp.MustCompile(pattern)) }
	r.page = banner(`open +(http://\S+/)\n`)
	r.admin = banner(`operate +(http://[^/]+)/`)
	r.nats = banner(`nats +(nats://\S+)\n`)
	u, err := url.Parse(r.page)
	if err != nil {
		t.Fatal(err)
	}
	r.url = "ws://" + u.Host + "/ws"
	return r
}
