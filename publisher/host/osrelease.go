package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// readOSRelease reads os-release(5) below the root. gopsutil would prefer other
// files of the distributions, and ask a program of the own container.
func readOSRelease(p paths) (id, version string, err error) {
	f, err := os.Open(p.inRoot("etc/os-release"))
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(p.inRoot("usr/lib/os-release"))
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil // an image of one program
	}
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	id, version, err = parseOSRelease(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", "", fmt.Errorf("os-release: %w", err)
	}
	return id, version, nil
}

// parseOSRelease finds ID and VERSION_ID. A distribution without releases has no
// version; one without an ID is "linux", as os-release(5) says.
func parseOSRelease(text io.Reader) (id, version string, err error) {
	id = "linux"
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		switch key {
		case "ID":
			id = unquote(value)
		case "VERSION_ID":
			version = unquote(value)
		}
	}
	return id, version, lines.Err()
}

// unquote takes a shell's quotes off a value without blanks.
func unquote(value string) string {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		value = value[1 : len(value)-1]
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}
