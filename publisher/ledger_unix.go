//go:build unix

package publisher

import (
	"errors"
	"os"
)

// syncDirectory makes the name of a new file last.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
