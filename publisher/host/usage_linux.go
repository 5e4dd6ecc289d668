package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// readUsage asks the filesystem at path, after making sure that it is the one
// with the given major:minor. gopsutil counts in f_bsize, which is wrong for
// FUSE filesystems with another f_frsize (statvfs(3)), and checks nothing.
func readUsage(path, id, kind string) (usage, error) {
	major, minor, err := parseDevice(id)
	if err != nil {
		return usage{}, err
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return usage{}, fmt.Errorf("stat: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return usage{}, fmt.Errorf("statfs: %w", err)
	}
	// Each subvolume of a btrfs has a device number that mountinfo doesn't know.
	same := unix.Major(uint64(stat.Dev)) == major && unix.Minor(uint64(stat.Dev)) == minor //nolint:unconvert // uint32 on some
	if kind == "btrfs" {
		same = uint32(fs.Type) == unix.BTRFS_SUPER_MAGIC
	}
	if !same {
		return usage{}, errNotThere
	}
	unit := uint64(fs.Frsize)
	if unit == 0 {
		unit = uint64(fs.Bsize)
	}
	return usage{
		limit: fs.Blocks * unit,
		used:  (fs.Blocks - min(fs.Bfree, fs.Blocks)) * unit,
		free:  fs.Bavail * unit,
	}, nil
}
