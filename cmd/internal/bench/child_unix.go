//go:build unix && !linux

package bench

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's ctrl-C from a child: it is to serve until we have finished with it.
func apart(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
