package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds a file of keys, in bytes: a wrong path shall not fill the memory.
const maxFile = 64 << 10

// file is a file of keys that is looked at again and again. Looking at the content, and not at times or events, is what finds
// every change: of a file that is written in place, renamed over, or reached by a link that Kubernetes points elsewhere.
type file struct {
	path  string
	parse func(content []byte, allowed []string) ([]key, error)

	keys    []key             // of the last good content
	taken   [sha256.Size]byte // of that content
	seen    [sha256.Size]byte // of the content at the last look
	trouble string            // what was last complained of
}

// load reads the file for the first time.
func (f *file) load(allowed []string) error {
	content, err := readSmall(f.path)
	if err == nil {
		f.keys, err = f.parse(content, allowed)
	}
	if err != nil {
		return f.fault(err)
	}
	f.taken = sha256.Sum256(content)
	f.seen = f.taken
	return nil
}

// look takes content that is new, good, and the same as at the look before: what is being written is let be. The error is
// told once; the keys of the last good content stay.
func (f *file) look(allowed []string) (changed bool, err error) {
	content, err := readSmall(f.path)
	if err != nil {
		return false, f.complain(err)
	}
	sum := sha256.Sum256(content)
	switch {
	case sum == f.taken:
		f.seen, f.trouble = sum, ""
		return false, nil
	case sum != f.seen:
		f.seen = sum
		return false, nil
	}
	keys, err := f.parse(content, allowed)
	if err != nil {
		return false, f.complain(err)
	}
	f.keys, f.taken, f.trouble = keys, sum, ""
	return true, nil
}

// complain is fault, unless it is what was complained of before.
func (f *file) complain(err error) error {
	err = f.fault(err)
	if err.Error() == f.trouble {
		return nil
	}
	f.trouble = err.Error()
	return err
}

func (f *file) fault(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		err = path.Err // which step it was does not matter
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("has more than %d bytes", maxFile)
	}
	return content, err
}

// watch looks at the files until ctx ends.
func (v *Verifier) watch(ctx context.Context) {
	tick := time.NewTicker(v.cfg.FileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, f := range v.files {
			switch changed, err := f.look(v.cfg.Algorithms); {
			case err != nil:
				v.metrics.reloadsFailed.Inc()
				v.cfg.Logger.Error("a file of keys cannot be used; the keys that it had go on", "error", err)
			case changed:
				v.gather()
				v.metrics.reloads.Inc()
				v.cfg.Logger.Info("keys were reloaded", "file", f.path, "keys", len(f.keys))
			}
		}
	}
}
