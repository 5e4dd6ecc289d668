package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is where something was measured: figures of different ones do not compare.
type Machine struct {
	Processor string `json:"processor,omitempty"`
	Cores     int    `json:"cores"`
	System    string `json:"system"` // and its kernel
	Go        string `json:"go"`
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System = "Linux " + strings.TrimSpace(string(release)) + " " + runtime.GOARCH
	}
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan() && m.Processor == ""; {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				m.Processor = strings.TrimSpace(value)
			}
		}
	}
	return m
}

// String is the machine in a line.
func (m Machine) String() string {
	parts := []string{fmt.Sprintf("%d cores", m.Cores), m.System, m.Go}
	if m.Processor != "" {
		parts[0] += " of " + m.Processor
	}
	return strings.Join(parts, ", ")
}
