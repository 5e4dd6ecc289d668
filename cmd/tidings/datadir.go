package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"tidings/cmd/internal/daemon"
)

// dataDir makes the directory that was asked for. If none was, it is the user's place for data; where there is no such
// place (a container with a read-only root), a temporary one, which is said.
func dataDir(asked string, logger *slog.Logger) (string, error) {
	if asked != "" {
		if err := writable(asked); err != nil {
			return "", daemon.WithCode(daemon.ExitConfig, fmt.Errorf("data directory: %w: make it writable for this user, or choose another with --data-dir", err))
		}
		return asked, nil
	}
	usual, err := usualDataDir()
	if err == nil {
		if err = writable(usual); err == nil {
			return usual, nil
		}
	}
	temporary := filepath.Join(os.TempDir(), "tidings-"+strconv.Itoa(os.Getuid()))
	if worse := writable(temporary); worse != nil {
		return "", daemon.WithCode(daemon.ExitConfig, fmt.Errorf("data directory: %w; %w: choose one with --data-dir", err, worse))
	}
	logger.Warn("what is retained is kept in a temporary directory, and may not outlive a restart of this machine; --data-dir chooses another",
		"dir", temporary, "reason", err)
	return temporary, nil
}

// usualDataDir follows the XDG Base Directory Specification, and the customs of Windows there.
func usualDataDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // relative ones are to be ignored, it says
		return filepath.Join(dir, "tidings"), nil
	}
	if dir := os.Getenv("LOCALAPPDATA"); runtime.GOOS == "windows" && dir != "" {
		return filepath.Join(dir, "tidings"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "share", "tidings"), nil
}

// writable makes the directory if need be, and tries it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
