package docker

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// endpoint is a place where an engine may listen.
type endpoint struct {
	url string
	tls bool // with the certificates in DOCKER_CERT_PATH
}

// endpoints are the places to look at, in order: the one that the operator
// named, or else those where Docker and Podman usually listen, the machine's
// before the user's own and Docker before Podman.
func endpoints(host string) []endpoint {
	if host = cmp.Or(host, os.Getenv("DOCKER_HOST")); host != "" {
		return []endpoint{{
			url: host,
			tls: strings.HasPrefix(host, "tcp://") && os.Getenv("DOCKER_CERT_PATH") != "",
		}}
	}
	own := cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", os.Getuid()))
	var all []endpoint
	for _, path := range []string{
		"/run/docker.sock",
		"/var/run/docker.sock",
		filepath.Join(own, "docker.sock"),
		"/run/podman/podman.sock",
		filepath.Join(own, "podman/podman.sock"),
	} {
		all = append(all, endpoint{url: "unix://" + path})
	}
	return slices.Compact(all)
}
