package docker

import (
	"strings"
	"testing"
)

const (
	someID  = "4f7a9c0d1e2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5"
	otherID = "0000000000000000000000000000000000000000000000000000000000000001"
)

func TestSelf_IsFoundInWhatTheKernelSays(t *testing.T) {
	for name, c := range map[string]struct{ mounts, groups, want string }{
		"Docker": {
			mounts: "905 904 0:61 / / rw - overlay overlay rw\n" +
				"921 905 259:2 /var/lib/docker/containers/" + someID + "/resolv.conf /etc/resolv.conf rw - ext4 /dev/nvme0n1p2 rw\n" +
				"922 905 259:2 /var/lib/docker/containers/" + someID + "/hostname /etc/hostname rw - ext4 /dev/nvme0n1p2 rw\n",
			groups: "0::/\n", want: someID,
		},
		"Podman": {
			mounts: "921 905 0:24 /containers/overlay-containers/" + someID + "/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n",
			groups: "0::/\n", want: someID,
		},
		"only control groups": {groups: "12:memory:/docker/" + someID + "\n", want: someID},
		"Podman's scope":      {groups: "1:name=systemd:/machine.slice/libpod-" + someID + ".scope\n", want: someID},
		"Docker's host": {
			mounts: "99 25 0:47 / /var/lib/docker/containers/" + otherID + "/mounts/shm rw - tmpfs shm rw\n" +
				"100 25 259:2 /var/lib/docker/containers/" + otherID + "/hostname /somewhere/else rw - ext4 /dev/nvme0n1p2 rw\n",
			groups: "0::/user.slice/user-1000.slice/session-2.scope\n",
		},
		"Kubernetes": {mounts: "1 2 8:1 /var/lib/kubelet/pods/1b1a/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"},
		"nothing":    {},
	} {
		if got := parseSelf([]byte(c.mounts), []byte(c.groups)); got != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func FuzzSelf(f *testing.F) {
	f.Add([]byte("921 905 259:2 /var/lib/docker/containers/"+someID+"/hostname /etc/hostname rw - ext4 /dev/x rw\n"), []byte("0::/docker/"+someID))
	f.Add([]byte("1 2 3 4"), []byte("\n\n"))
	f.Fuzz(func(t *testing.T, mounts, groups []byte) {
		id := parseSelf(mounts, groups)
		if id == "" {
			return
		}
		if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("%q is no id", id)
		}
		if !strings.Contains(string(mounts)+string(groups), id) {
			t.Errorf("%q is made up", id)
		}
	})
}
