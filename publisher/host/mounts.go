package host

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// remoteTypes are filesystems of other machines, whose answer may never come.
var remoteTypes = []string{
	"nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "lustre", "beegfs", "gpfs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf",
	"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs", "fuse.mergerfs", "fuse.juicefs", "fuse.moosefs",
}

// localTypes keep data on devices of this machine although the kernel's list of
// filesystems says nodev of them.
var localTypes = []string{"zfs", "bcachefs", "btrfs", "ubifs", "apfs"}

// imageTypes are read-only images: always full, and of no interest.
var imageTypes = []string{"squashfs", "erofs", "iso9660", "udf", "cramfs", "romfs"}

// mount is a filesystem that is worth a look, as the host's first process sees it.
type mount struct {
	point  string // unescaped, without the root that it is mounted under here
	device string
	kind   string
	id     string // major:minor, the same for all mounts of one filesystem
	remote bool
}

// readMounts lists the host's filesystems, each once.
func readMounts(p paths) ([]mount, error) {
	fs, err := procfs.NewFS(p.proc)
	if err != nil {
		return nil, err
	}
	// Process 1's: "self" would be the own container's view.
	infos, err := fs.GetProcMounts(1)
	if os.IsPermission(err) || os.IsNotExist(err) {
		if p.proc != "/proc" {
			return nil, err
		}
		infos, err = fs.GetMounts() // process 1 is hidden, but /proc is our own
	}
	if err != nil {
		return nil, err
	}
	types, err := os.Open(p.inProc("filesystems"))
	if err != nil {
		return nil, err
	}
	defer types.Close()
	mounts := chooseMounts(infos, deviceTypes(bufio.NewScanner(types)))
	for i := range mounts {
		mounts[i].device = deviceName(p, mounts[i])
	}
	return mounts, nil
}

// deviceTypes are the filesystem types that live on block devices, images aside.
func deviceTypes(lines *bufio.Scanner) map[string]bool {
	types := map[string]bool{}
	for lines.Scan() {
		nodev, kind, ok := strings.Cut(lines.Text(), "\t")
		if ok && nodev == "" && !slices.Contains(imageTypes, kind) {
			types[kind] = true
		}
	}
	return types
}

// chooseMounts keeps of each filesystem that holds data the one mount by which
// people know it.
func chooseMounts(infos []*procfs.MountInfo, onDevice map[string]bool) []mount {
	// The last mount on a point hides those before it.
	top := map[string]*procfs.MountInfo{}
	for _, info := range infos {
		top[info.MountPoint] = info
	}
	best := map[string]*procfs.MountInfo{}
	for _, info := range infos {
		if top[info.MountPoint] != info || !holdsData(info, onDevice) {
			continue
		}
		if known := best[info.MajorMinorVer]; known == nil || compareMounts(info, known) < 0 {
			best[info.MajorMinorVer] = info
		}
	}
	mounts := make([]mount, 0, len(best))
	for _, info := range best {
		mounts = append(mounts, mount{
			point: unescapeMount(info.MountPoint), device: unescapeMount(info.Source), kind: info.FSType,
			id: info.MajorMinorVer, remote: slices.Contains(remoteTypes, info.FSType),
		})
	}
	slices.SortFunc(mounts, func(a, b mount) int { return strings.Compare(a.point, b.point) })
	return mounts
}

func holdsData(info *procfs.MountInfo, onDevice map[string]bool) bool {
	if info.MountPoint == "/" {
		return info.FSType != "rootfs" // even an overlay: a live system's, or a container's own
	}
	if slices.Contains(remoteTypes, info.FSType) {
		return true
	}
	if !onDevice[info.FSType] && !slices.Contains(localTypes, info.FSType) {
		return false
	}
	// A part of a filesystem mounted elsewhere is a bind mount, such as the
	// /etc/hosts of a container, unless it is a subvolume.
	return info.Root == "/" || info.SuperOptions["subvol"] == info.Root || !strings.HasPrefix(info.Source, "/")
}

// compareMounts puts first the mount by which people know a filesystem.
func compareMounts(a, b *procfs.MountInfo) int {
	last := func(is bool) int {
		if is {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(last(a.MountPoint == "/"), last(b.MountPoint == "/")),
		cmp.Compare(last(a.Root == "/"), last(b.Root == "/")),
		cmp.Compare(len(a.MountPoint), len(b.MountPoint)),
		cmp.Compare(a.MountPoint, b.MountPoint),
	)
}

// deviceName is the device's real name where the kernel was booted with
// another one for it.
func deviceName(p paths, m mount) string {
	if m.device == "/dev/root" {
		if target, err := os.Readlink(p.inSys("dev/block", m.id)); err == nil {
			return "/dev/" + filepath.Base(target)
		}
	}
	return m.device
}

// unescapeMount undoes the kernel's escapes in mountinfo: a backslash and three
// octal digits for blanks and backslashes (proc_pid_mountinfo(5)).
func unescapeMount(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// parseDevice reads the kernel's major:minor.
func parseDevice(id string) (major, minor uint32, err error) {
	a, b, _ := strings.Cut(id, ":")
	ma, err := strconv.ParseUint(a, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("device %.40q: %w", id, err)
	}
	mi, err := strconv.ParseUint(b, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("device %.40q: %w", id, err)
	}
	return uint32(ma), uint32(mi), nil
}
