//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommand_RefusesByNameWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("log:\n  levle: debug\nstream:\n  max_age: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"tidings", "edge", "publisher"} {
		for _, c := range []struct {
			name string
			args []string
			env  []string
			code int
			want []string
		}{
			{"flag", []string{"--amdin", "none"}, nil, 2, []string{"--amdin", "did you mean --admin?"}},
			{"argument", []string{"everything"}, nil, 2, []string{`"everything"`}},
			{"key", []string{"--config", file}, nil, 78, []string{"log.levle", "did you mean log.level?", file + ":2"}},
			{"environment", nil, []string{"TIDINGS_LOG_LEVLE=debug"}, 78, []string{"TIDINGS_LOG_LEVLE", "did you mean TIDINGS_LOG_LEVEL?"}},
			{"value", nil, []string{"TIDINGS_STREAM_MAX_AGE=soon"}, 78, []string{"stream.max_age", "TIDINGS_STREAM_MAX_AGE", "soon"}},
			{"missing file", []string{"--config", file + ".gone"}, nil, 78, []string{file + ".gone"}},
			{"all at once", []string{"--config", file, "--admin", "nowhere"}, []string{"TIDINGS_STREM_NAME=X"}, 78,
				[]string{"log.levle", "admin.listen", "TIDINGS_STREM_NAME"}},
		} {
			t.Run(program+" "+c.name, func(t *testing.T) {
				t.Parallel()
				p := launch(t, command{path: programs.path(t, program), args: c.args, env: c.env})
				code := p.exit()
				if code != c.code || p.stdout.String() != "" {
					t.Errorf("ended with %d, not %d: %s", code, c.code, p.stdout)
				}
				for _, want := range append(c.want, program+": ") {
					if !strings.Contains(p.stderr.String(), want) {
						t.Errorf("it does not say %q:\n%s", want, p.stderr)
					}
				}
			})
		}
	}
}

// What is printed can be given back, and means the same.
func TestPrintConfig_RoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program string
		args    []string
		env     string
		want    []string
	}{
		{"tidings", []string{"--listen", "127.0.0.1:9", "--host", "Web 1"}, "TIDINGS_LIMITS_MESSAGE_BYTES=1MiB", []string{`"Web 1"`, "message_bytes: 1MiB"}},
		{"edge", []string{"--nats", "nats://a:1,nats://b:2", "--name", "e: #1", "--auth", "none"}, "TIDINGS_HEARTBEAT=1m30s", []string{`"e: #1"`, "heartbeat: 1m30s", "nats://b:2"}},
		{"publisher", []string{"--host", "web-1", "--admin", "none"}, "TIDINGS_DOCKER_LABELS=a.b,c", []string{"web-1", "a.b"}},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			show := func(env []string, args ...string) string {
				t.Helper()
				p := launch(t, command{path: programs.path(t, c.program), args: append(args, "--print-config"), env: env})
				if code := p.exit(); code != 0 || p.stderr.String() != "" {
					t.Fatalf("ended with %d: %s", code, p.stderr)
				}
				return p.stdout.String()
			}
			printed := show([]string{c.env}, c.args...)
			for _, want := range c.want {
				if !strings.Contains(printed, want) {
					t.Errorf("no %q in\n%s", want, printed)
				}
			}
			if usual := show(nil); usual == printed {
				t.Error("flags and environment make no difference")
			}
			file := filepath.Join(t.TempDir(), "printed.yaml")
			if err := os.WriteFile(file, []byte(printed), 0o600); err != nil {
				t.Fatal(err)
			}
			if again := show(nil, "--config", file); again != printed {
				t.Errorf("printed\n%s\nwhich as a file gives\n%s", printed, again)
			}
		})
	}
}

func TestHelp_TellsANewcomerWhatTheyNeed(t *testing.T) {
	t.Parallel()
	daemon := []string{"Examples:", "Flags:", "Exit codes:", "--config", "--print-config", "TIDINGS_", "/readyz", "SIGTERM", "--admin", "--log-level"}
	for _, c := range []struct {
		command string
		want    []string
	}{
		{"tidings", []string{"Examples:", "http://127.0.0.1:8080/", "tidings run", "Available Commands:", "  sub ", "  pub ", "  last ", "--listen", "TIDINGS_"}},
		{"tidings run", append([]string{"--listen", "--data-dir", "--nats-listen", "127.0.0.1:8080"}, daemon...)},
		{"tidings sub", []string{"Examples:", "Exit codes:", "--url", "--json", "--since", "--last", "ws://127.0.0.1:8080/ws", "quote them", "TIDINGS_URL"}},
		{"tidings pub", []string{"Examples:", "Exit codes:", "--nats", "standard input", "65", "nats://127.0.0.1:4222"}},
		{"tidings last", []string{"Examples:", "Exit codes:", "--url", "--json"}},
		{"edge", append([]string{"--listen", "--nats", "--name", "--auth", "/ws"}, daemon...)},
		{"publisher", append([]string{"--nats", "--host", "--docker-host", "/proc"}, daemon...)},
	} {
		words := strings.Fields(c.command)
		code, stdout, stderr := invoke(t, "", words[0], append(words[1:], "--help")...)
		if code != 0 || stderr != "" {
			t.Errorf("%s --help ended with %d: %s", c.command, code, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s --help does not mention %s", c.command, want)
			}
		}
		if code, version, _ := invoke(t, "", words[0], "--version"); code != 0 || !strings.HasPrefix(version, words[0]+" version ") {
			t.Errorf("%s --version ended with %d: %s", words[0], code, version)
		}
	}
}
