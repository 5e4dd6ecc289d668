package docker

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Containers is the payload of containers.
type Containers struct {
	Containers []Container `json:"containers"` // by name
}

// roster is all containers as far as the events have told.
type roster struct {
	present map[string]Container
	// gone are those that the last list had no more, although their destroy event
	// had not been seen yet: it needs their last record.
	gone map[string]Container
}

func newRoster() *roster {
	return &roster{present: make(map[string]Container), gone: make(map[string]Container)}
}

// get is a container's last known record, or nil.
func (r *roster) get(id string) *Container {
	for _, m := range []map[string]Container{r.present, r.gone} {
		if c, ok := m[id]; ok {
			return &c
		}
	}
	return nil
}

func (r *roster) put(c Container) {
	delete(r.gone, c.ID)
	r.present[c.ID] = c
}

func (r *roster) remove(id string) {
	delete(r.present, id)
	delete(r.gone, id)
}

// replace puts a whole list in place of what was known.
func (r *roster) replace(all []Container) {
	before := r.present
	r.present = make(map[string]Container, len(all))
	for _, c := range all {
		r.present[c.ID] = c
		delete(before, c.ID)
	}
	r.gone = before
}

// list is the payload as of now.
func (r *roster) list(now time.Time) Containers {
	all := make([]Container, 0, len(r.present))
	for c := range maps.Values(r.present) {
		c.Status = c.Course.status(now)
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return Containers{Containers: all}
}

// running is those that use anything, by id.
func (r *roster) running() []Container {
	var all []Container
	for c := range maps.Values(r.present) {
		if c.up() {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Container) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
