package bus

import (
	"slices"
	"strings"
)

// manyFilters is from how many filters on the stream is read, or its topics are listed, as a whole and what is wanted picked out of that:
// a request for each would take longer. An edge holds as many as its clients follow single topics.
const manyFilters = 128

// filters are the subjects of the patterns, without those that another one covers.
func (c *Conn) filters(patterns []Pattern) []string {
	var filters []string
	for _, p := range widest(patterns) {
		filters = append(filters, c.subjects.pubPattern(p))
	}
	return filters
}

// everything is the filter that matches every topic.
func (c *Conn) everything() string { return c.subjects.pubPattern(">") }

// wants tells which subjects some of the filters match.
func (c *Conn) wants(filters []string) func(subject string) bool {
	topics := make(map[string]bool, len(filters))
	var wild []Pattern
	for _, f := range filters {
		if p := Pattern(strings.TrimPrefix(f, c.subjects.pub)); p.IsTopic() {
			topics[f] = true
		} else {
			wild = append(wild, p)
		}
	}
	return func(subject string) bool {
		if topics[subject] {
			return true
		}
		t, ok := topicOf(c.subjects.pub, subject)
		return ok && slices.ContainsFunc(wild, func(p Pattern) bool { return p.Matches(t) })
	}
}
