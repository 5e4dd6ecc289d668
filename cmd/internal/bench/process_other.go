//go:build !linux

package bench

import (
	"errors"
	"time"
)

var errNoProcess = errors.New("what a process costs is measured on Linux only")

func cpu(int) (time.Duration, error) { return 0, errNoProcess }
func resident(int) (int64, error)    { return 0, errNoProcess }
