package host

import (
	"errors"
	"fmt"
	"time"
)

const (
	mountsEvery = 10 * time.Second // between two looks at the list of mounts
	remoteEvery = 10 * time.Second // between two questions to another machine's filesystem
	usageKeep   = 30 * time.Second // a filesystem that gave no answer for so long is unknown
)

// errNotThere says that what is mounted here is not the host's filesystem: the
// publisher's container got the host's root without the mounts below it.
var errNotThere = errors.New("not mounted below the given root")

// usage is what statfs(2) says, in bytes.
type usage struct{ limit, used, free uint64 }

// filesystemReader asks each of the host's filesystems how full it is. A dead
// one holds up its own question alone.
type filesystemReader struct {
	paths paths
	usage func(path, id, kind string) (usage, error) // readUsage but in tests

	mounts   []mount
	mountsAt time.Time
	asked    map[mount]*slow[usage]
}

// ask starts the questions that are due and returns when each is answered.
func (r *filesystemReader) ask(now time.Time) ([]<-chan struct{}, error) {
	if r.mountsAt.IsZero() || now.Sub(r.mountsAt) >= mountsEvery {
		mounts, err := readMounts(r.paths)
		if err != nil {
			return nil, err
		}
		r.setMounts(mounts)
		r.mountsAt = now
	}
	done := make([]<-chan struct{}, 0, len(r.mounts))
	for _, m := range r.mounts {
		done = append(done, r.asked[m].ask(now))
	}
	return done, nil
}

// setMounts keeps the answers of mounts that are still there, and the question
// to one that went while it hung: it may come back, and hang again.
func (r *filesystemReader) setMounts(mounts []mount) {
	asked := make(map[mount]*slow[usage], len(mounts))
	for m, s := range r.asked {
		if !s.idle() {
			asked[m] = s
		}
	}
	for _, m := range mounts {
		if s := r.asked[m]; s != nil {
			asked[m] = s
			continue
		}
		s := &slow[usage]{keep: usageKeep}
		if m.remote {
			s.every = remoteEvery
		}
		s.read = func() (usage, error) { return r.usage(r.paths.inRoot(m.point), m.id, m.kind) }
		asked[m] = s
	}
	r.mounts, r.asked = mounts, asked
}

// answers are the filesystems whose answer is there and young enough.
func (r *filesystemReader) answers(now time.Time) ([]Filesystem, error) {
	filesystems := []Filesystem{}
	var faults []error
	for _, m := range r.mounts {
		u, err, ok := r.asked[m].last(now)
		switch {
		case !ok || errors.Is(err, errNotThere):
		case err != nil:
			faults = append(faults, fmt.Errorf("filesystem %s: %w", m.point, err))
		case u.limit > 0: // else it holds nothing of its own, such as an autofs in disguise
			filesystems = append(filesystems, Filesystem{
				Mountpoint: m.point, Device: m.device, Type: m.kind,
				Limit: u.limit, Used: u.used, Free: u.free,
				Utilization: ratio(float64(u.used), float64(u.used+u.free)),
			})
		}
	}
	return filesystems, errors.Join(faults...)
}
