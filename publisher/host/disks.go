package host

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs/blockdevice"
)

// sectorBytes is the unit of /proc/diskstats, whatever the device's own sectors are.
const sectorBytes = 512

// wholeFor is how long it is believed of a device that it is whole or not.
const wholeFor = time.Minute

// noDisk are devices in memory, over files, and drives whose medium comes and goes.
var noDisk = regexp.MustCompile(`^(ram|zram|loop|fd|sr)\d+$`)

// diskReader tells from the block devices' counters their rates. It takes procfs
// rather than gopsutil, which asks udev for labels and serial numbers each time.
type diskReader struct {
	paths  paths
	before map[string]counters

	whole   map[string]bool // by device name; asked again when wholeAt is old
	wholeAt time.Time
}

func (r *diskReader) read() ([]Disk, error) {
	fs, err := blockdevice.NewFS(r.paths.proc, r.paths.sys)
	if err != nil {
		return nil, err
	}
	stats, err := fs.ProcDiskstats()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if now.Sub(r.wholeAt) > wholeFor {
		r.whole, r.wholeAt = map[string]bool{}, now
	}
	return r.disks(stats, now), nil
}

func (r *diskReader) disks(stats []blockdevice.Diskstats, at time.Time) []Disk {
	seen := make(map[string]counters, len(stats))
	disks := []Disk{}
	for _, s := range stats {
		if !r.isWhole(s.DeviceName) {
			continue
		}
		now := counters{at, []uint64{s.ReadSectors, s.WriteSectors, s.ReadIOs, s.WriteIOs, s.IOsTotalTicks}}
		d := Disk{Device: s.DeviceName, ReadBytes: s.ReadSectors * sectorBytes, WriteBytes: s.WriteSectors * sectorBytes}
		if rates := now.perSecond(r.before[s.DeviceName]); rates != nil {
			d.ReadBytesPerSecond, d.WriteBytesPerSecond = rate(rates[0]*sectorBytes), rate(rates[1]*sectorBytes)
			d.ReadOpsPerSecond, d.WriteOpsPerSecond = rate(rates[2]), rate(rates[3])
			d.IOTimeRatio = ratio(rates[4], 1000) // ms of I/O in a second
		}
		seen[s.DeviceName] = now
		disks = append(disks, d)
	}
	r.before = seen
	slices.SortFunc(disks, func(a, b Disk) int { return strings.Compare(a.Device, b.Device) })
	return disks
}

func (r *diskReader) isWhole(device string) bool {
	whole, known := r.whole[device]
	if !known {
		whole = wholeDisk(r.paths, device)
		if r.whole == nil {
			r.whole = map[string]bool{}
		}
		r.whole[device] = whole
	}
	return whole
}

// wholeDisk says whether a device is one whose I/O no other listed device counts
// too: no partition, nothing stacked on others (LVM, RAID, dm-crypt), no path of
// a multipath disk, and not empty.
func wholeDisk(p paths, device string) bool {
	if noDisk.MatchString(device) {
		return false
	}
	// The kernel writes the / of names such as cciss/c0d0 as ! in paths.
	dir := p.inSys("block", strings.ReplaceAll(device, "/", "!"))
	if _, err := os.Stat(dir); err != nil {
		return false // a partition is a directory within its disk's
	}
	if slaves, err := os.ReadDir(dir + "/slaves"); err == nil && len(slaves) > 0 {
		return false
	}
	return fileSays(dir+"/size") != "0" && fileSays(dir+"/hidden") != "1"
}

// fileSays is a small file's text without blanks around it; "" if it can't be read.
func fileSays(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
