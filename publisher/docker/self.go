package docker

import (
	"bytes"
	"os"
	"regexp"
)

// An engine keeps the files that it mounts over a container's /etc/hostname,
// /etc/hosts and /etc/resolv.conf in a directory named by the container's id:
// Docker in …/containers/<id>/, Podman in …/overlay-containers/<id>/userdata/.
var containerDirectory = regexp.MustCompile(`containers/([0-9a-f]{64})/`)

// With version 1 of control groups, a process sees the path of its own, which
// ends in the container's id: /docker/<id>, /machine.slice/libpod-<id>.scope.
var containerGroup = regexp.MustCompile(`(?m)[/-]([0-9a-f]{64})(?:\.scope)?$`)

// ownContainer is the id of the container that this process runs in, or "".
func ownContainer() string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	groups, _ := os.ReadFile("/proc/self/cgroup")
	return parseSelf(mounts, groups)
}

func parseSelf(mountinfo, cgroup []byte) string {
	for line := range bytes.Lines(mountinfo) {
		// proc_pid_mountinfo(5): the fourth field is the mounted directory or
		// file within its file system, the fifth where it is mounted. Other mounts
		// may name other containers: where the engine itself runs, all of them.
		fields := bytes.Fields(line)
		if len(fields) < 5 {
			continue
		}
		switch string(fields[4]) {
		case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf":
			if id := containerDirectory.FindSubmatch(fields[3]); id != nil {
				return string(id[1])
			}
		}
	}
	if id := containerGroup.FindSubmatch(cgroup); id != nil {
		return string(id[1])
	}
	return ""
}
