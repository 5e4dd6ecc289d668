package host

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// Under the root is this machine's own temporary directory, so statfs is real.
func TestFilesystems_StatfsUnderTheRootReportsTheHostsMountpoint(t *testing.T) {
	host := newMachine(t)
	var stat syscall.Stat_t
	if err := syscall.Stat(host.dir, &stat); err != nil {
		t.Fatal(err)
	}
	dev := uint64(stat.Dev)
	id := fmt.Sprintf("%d:%d", dev>>8&0xfff, dev&0xff|dev>>12&^0xff)
	host.write("root/data/x", "")
	host.write("root/not-mounted-here/x", "")
	host.write("proc/1/mountinfo", strings.Join([]string{
		"1 0 " + id + " / /data rw - ext4 /dev/sdz1 rw",
		"2 0 9:9 / /not-mounted-here rw - ext4 /dev/sdz2 rw", // in the container, a directory of the root's filesystem
	}, "\n")+"\n")
	sources, err := New(host.config())
	if err != nil {
		t.Fatal(err)
	}
	m := mustBeat[Metrics](t, sources[0])
	if len(m.Filesystems) != 1 {
		t.Fatalf("filesystems %s", show(m.Filesystems))
	}
	f := m.Filesystems[0]
	if f.Mountpoint != "/data" || f.Device != "/dev/sdz1" || f.Limit == 0 || f.Used == 0 || f.Used+f.Free > f.Limit {
		t.Errorf("filesystem %s", show(f))
	}
}

func TestFilesystems_ThisMachinesRoot(t *testing.T) {
	sources, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := beat[Metrics](t, sources[0])
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/", &fs); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Filesystems {
		if f.Mountpoint == "/" {
			if f.Limit != fs.Blocks*uint64(fs.Frsize) {
				t.Errorf("%s, but statfs says %d blocks of %d", show(f), fs.Blocks, fs.Frsize)
			}
			return
		}
	}
	t.Errorf("no root filesystem in %s", show(m.Filesystems))
}
