package publisher

import (
	"crypto/rand"
	"fmt"
	"os"

	"tidings/bus"
)

// newInstance names one life of a publisher, so that it differs from every other
// and still tells people where to look: machine or container, process, and a
// random part, since in containers the first two are often the same.
func newInstance() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", bus.HostToken(name), os.Getpid(), rand.Text()[:8])
}
