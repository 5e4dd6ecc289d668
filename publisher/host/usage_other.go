//go:build !linux

package host

import "github.com/shirou/gopsutil/v4/disk"

// readUsage asks the filesystem at path.
func readUsage(path, _, _ string) (usage, error) {
	stat, err := disk.Usage(path)
	if err != nil {
		return usage{}, err
	}
	return usage{limit: stat.Total, used: stat.Used, free: stat.Free}, nil
}
