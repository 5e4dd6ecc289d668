package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tidings/configs"
)

// execute runs a program whose own code returns what outcome does.
func execute(t *testing.T, outcome func(configs.Edge) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := &cobra.Command{Use: "edge"}
	Configured(cmd, configs.ForEdge, func(configs.Edge) error { return nil }, func(_ *cobra.Command, config configs.Edge) error {
		return outcome(config)
	})
	var out, errs bytes.Buffer
	code = Execute(context.Background(), cmd, append([]string{"edge"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestExecute_ExitCodes(t *testing.T) {
	t.Setenv("TIDINGS_AUTH", "none")
	for _, c := range []struct {
		name   string
		args   []string
		result error
		code   int
		stderr string
	}{
		{"done", nil, nil, 0, ""},
		{"failed", nil, errors.New("broken"), 1, "edge: broken\n"},
		{"unavailable, wrapped", nil, fmt.Errorf("step: %w", WithCode(ExitUnavailable, io.EOF)), 75, "edge: step: EOF\n"},
		{"reader gone", nil, fmt.Errorf("print: %w", syscall.EPIPE), 0, ""},
		{"misspelt flag", []string{"--lisen", ":80"}, nil, 2, "edge: unknown flag: --lisen, did you mean --listen?\nsee 'edge --help'\n"},
		{"flag of nowhere", []string{"--xyzzy"}, nil, 2, "edge: unknown flag: --xyzzy\nsee 'edge --help'\n"},
		{"flag without its value", []string{"--listen"}, nil, 2, "edge: flag needs an argument: --listen\nsee 'edge --help'\n"},
		{"argument", []string{"start"}, nil, 2, "edge: unknown command \"start\" for \"edge\"\nsee 'edge --help'\n"},
		{"configuration", []string{"--listen", "x"}, nil, 78, "edge: configuration: listen: \"x\" is no address such as 127.0.0.1:8080 or :8080 (--listen)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := execute(t, func(configs.Edge) error { return c.result }, c.args...)
			if code != c.code || stderr != c.stderr || stdout != "" {
				t.Errorf("exit code %d, want %d\nstderr %q\n  want %q\nstdout %q", code, c.code, stderr, c.stderr, stdout)
			}
		})
	}
}

func TestExecute_PrintConfigRunsNothing(t *testing.T) {
	code, stdout, stderr := execute(t, func(configs.Edge) error {
		t.Error("it ran")
		return nil
	}, "--print-config", "--name", "edge-7")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "\nname: \"edge-7\"\n") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}

func TestExecute_HelpAndVersionGoToStdout(t *testing.T) {
	for arg, want := range map[string]string{"--help": "--print-config", "--version": "edge version " + Version()} {
		code, stdout, stderr := execute(t, func(configs.Edge) error { return nil }, arg)
		if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%s: %d %q %q", arg, code, stdout, stderr)
		}
	}
}

func TestNewLogger_LevelAndForm(t *testing.T) {
	var out bytes.Buffer
	logger := NewLogger(&out, configs.Log{Level: "warn", Format: "auto"})
	logger.Info("unheard")
	logger.Warn("heard", slog.Int("n", 1), slog.Duration("for", 90*time.Second))
	if got := out.String(); strings.Contains(got, "unheard") || !strings.Contains(got, `"level":"WARN","msg":"heard","n":1,"for":"1m30s"}`) {
		t.Errorf("not a terminal: %s", got)
	}
	out.Reset()
	NewLogger(&out, configs.Log{Level: "debug", Format: "text"}).Debug("heard")
	if got := out.String(); !strings.Contains(got, "level=DEBUG msg=heard") {
		t.Errorf("text: %s", got)
	}
}
