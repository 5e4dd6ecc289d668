package dockertest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
)

// apart keeps dockerd out of the terminal's group, whose ^C is for the tests,
// which end it. If they end without having done so, the kernel does.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// unmount undoes what a killed dockerd has left mounted.
func (e *Engine) unmount() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // those within others first
	var faults []error
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], e.dir+"/") {
			faults = append(faults, syscall.Unmount(fields[4], syscall.MNT_DETACH))
		}
	}
	return errors.Join(faults...)
}
