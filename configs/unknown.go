package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// prefix starts every name that is ours in the environment.
const prefix = "TIDINGS_"

// unknownKeys refuses what stands in a file and is no key.
func unknownKeys(path string, entries map[string]entry, fields []field) Faults {
	var known, sections []string
	for _, f := range fields {
		known = append(known, f.key)
		for i, c := range f.key {
			if c == '.' {
				sections = append(sections, f.key[:i])
			}
		}
	}
	keys := slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		return entries[a].key.Line - entries[b].key.Line
	})
	var faults Faults
	for _, key := range keys {
		line := entries[key].key.Line
		switch {
		case slices.Contains(sections, key):
			if entries[key].value.Tag != "!!null" && !entries[key].isSection() {
				faults = append(faults, fmt.Sprintf("%s: is a section with keys of its own, such as %s (%s:%d)",
					key, nearest(key+".", known), path, line))
			}
		case !slices.Contains(known, key):
			faults = append(faults, fmt.Sprintf("%s: there is no such key%s (%s:%d)", key, hint(nearest(key, known)), path, line))
		case entries[key].isSection():
			faults = append(faults, fmt.Sprintf("%s: takes a value, not keys (%s:%d)", key, path, line))
		}
	}
	return faults
}

// CheckEnvironment refuses TIDINGS_ names that none of the programs knows, for those that read some of them without
// loading a configuration.
func CheckEnvironment(environ []string) error {
	if faults := unknownEnvironment(environ); len(faults) > 0 {
		return faults
	}
	return nil
}

// unknownEnvironment refuses TIDINGS_ names that none of the programs knows.
func unknownEnvironment(environ []string) Faults {
	known := append(namesOf(new(Edge)), namesOf(new(Publisher))...)
	known = append(known, namesOf(new(Tidings))...)
	known = append(known, prefix+"CONFIG", prefix+"URL", prefix+"TOKEN") // the last two are for the tools of cmd/tidings

	var names []string
	for _, variable := range environ {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var faults Faults
	for _, name := range names {
		if !slices.Contains(known, name) && !isServiceLink(name, names) {
			faults = append(faults, fmt.Sprintf("%s: there is no such name%s (the environment)", name, hint(nearest(name, known))))
		}
	}
	return faults
}

func namesOf(config any) []string {
	var names []string
	for _, f := range fieldsOf(config) {
		names = append(names, f.environment())
	}
	return names
}

// isServiceLink recognises what Kubernetes puts into each container for a Service called tidings-something:
// X_SERVICE_HOST, and with it X_SERVICE_PORT…, X_PORT and X_PORT_….
func isServiceLink(name string, names []string) bool {
	for _, other := range names {
		service, ok := strings.CutSuffix(other, "_SERVICE_HOST")
		if !ok {
			continue
		}
		rest, ok := strings.CutPrefix(name, service)
		if ok && (strings.HasPrefix(rest, "_SERVICE_") || rest == "_PORT" || strings.HasPrefix(rest, "_PORT_")) {
			return true
		}
	}
	return false
}

func hint(nearest string) string {
	if nearest == "" {
		return ""
	}
	return ", did you mean " + nearest + "?"
}

// Nearest returns the candidate that was most likely meant by name, or nothing if none is near.
func Nearest(name string, candidates []string) string { return nearest(name, candidates) }

func nearest(name string, candidates []string) string {
	plain := func(s string) string {
		return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToLower(s))
	}
	name = plain(name)
	best, least := "", 2+len(name)/5 // edits above which two names have nothing to do with each other
	for _, candidate := range candidates {
		other := plain(candidate)
		distance := edits(name, other)
		if strings.HasSuffix(other, "_"+name) || strings.HasPrefix(other, strings.TrimSuffix(name, "_")+"_") || strings.HasPrefix(name, other+"_") {
			distance = min(distance, 1) // a section left out, nothing but the section, or a key that is no section
		}
		if distance < least {
			best, least = candidate, distance
		}
	}
	return best
}

// edits is the Levenshtein distance, with a swap of neighbours counted as one.
func edits(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
