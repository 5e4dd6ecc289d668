package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/common"

	"tidings/publisher"
)

// Config says which host to read, and how often. Zero fields mean the default
// written beside them.
type Config struct {
	// Host is the host's true name, as the payloads carry it; Hostname(Root).
	Host string

	// Where the host's own are mounted, for a publisher in a container.
	Proc string // /proc
	Sys  string // /sys
	Root string // /

	// Interval is the time between two metrics; 1 s. At least 100 ms: the
	// kernel counts CPU time in ticks of 10 ms, so shorter says nothing.
	Interval time.Duration

	Version  string                     // the publisher's; left out of the payload if empty
	Runtimes func() []publisher.Runtime // container engines in reach, asked on each beat; none
	Actions  []string                   // what this publisher does when asked to; unknown
	Logger   *slog.Logger               // discards
}

// minInterval is ten kernel ticks (USER_HZ is 100 on every Linux that Go runs on).
const minInterval = 100 * time.Millisecond

// Validate names every fault at once, by its key.
func (c Config) Validate() error {
	var faults []error
	if c.Interval != 0 && c.Interval < minInterval {
		faults = append(faults, fmt.Errorf("interval: %v is too short, the least is %v", c.Interval, minInterval))
	}
	// Only what the operator wrote: the defaults need not exist on every system.
	for _, d := range []struct{ key, path, proof string }{
		{"proc", c.Proc, "stat"}, {"sys", c.Sys, "class"}, {"root", c.Root, "etc"},
	} {
		if d.path == "" {
			continue
		}
		if !filepath.IsAbs(d.path) {
			faults = append(faults, fmt.Errorf("%s: %q is not an absolute path", d.key, d.path))
		} else if _, err := os.Stat(filepath.Join(d.path, d.proof)); err != nil {
			faults = append(faults, fmt.Errorf("%s: the host's is not mounted there: %w", d.key, err))
		}
	}
	return errors.Join(faults...)
}

// New makes the two sources of a host: its metrics and its description.
func New(c Config) ([]publisher.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if c.Host == "" {
		name, err := Hostname(c.Root)
		if err != nil {
			return nil, fmt.Errorf("host: %w", err)
		}
		c.Host = name
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p := newPaths(c)
	return []publisher.Source{newMetricsSource(c, p), newDescriptionSource(c, p)}, nil
}

// Hostname is the name of the host whose root is mounted at root. A container
// has a host name of its own, so there the host's comes from its /etc/hostname.
func Hostname(root string) (string, error) {
	if root != "" && root != "/" {
		text, err := os.ReadFile(filepath.Join(root, "etc/hostname"))
		if name := strings.TrimSpace(string(text)); err == nil && name != "" {
			return name, nil
		}
	}
	return os.Hostname()
}

// paths knows where the host's files are.
type paths struct{ proc, sys, root string }

func newPaths(c Config) paths {
	or := func(path, otherwise string) string {
		if path == "" {
			return otherwise
		}
		return filepath.Clean(path)
	}
	return paths{proc: or(c.Proc, "/proc"), sys: or(c.Sys, "/sys"), root: or(c.Root, "/")}
}

func (p paths) inProc(elem ...string) string { return join(p.proc, elem) }
func (p paths) inSys(elem ...string) string  { return join(p.sys, elem) }
func (p paths) inRoot(elem ...string) string { return join(p.root, elem) }

func join(dir string, elem []string) string {
	return filepath.Join(append([]string{dir}, elem...)...)
}

// tell makes gopsutil read the host's files. It looks into the process'
// environment for each key that is missing here, so none is.
func (p paths) tell(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{
		common.HostProcEnvKey: p.proc,
		common.HostSysEnvKey:  p.sys,
		common.HostRootEnvKey: p.root,
		common.HostEtcEnvKey:  p.inRoot("etc"),
		common.HostVarEnvKey:  p.inRoot("var"),
		common.HostRunEnvKey:  p.inRoot("run"),
		common.HostDevEnvKey:  p.inRoot("dev"),
	})
}
