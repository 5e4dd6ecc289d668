//go:build unix && !linux

package dockertest

import "syscall"

// There is no dockerd on other systems, so nothing here is ever called: it lets
// the tests build, and be skipped.

func apart() *syscall.SysProcAttr { return nil }

func (e *Engine) unmount() error { return nil }
