package bus

import "strings"

// subjects are the three branches of PROTOCOL §9. Only here do topics become NATS subjects and subjects topics.
type subjects struct {
	pub, live, act string // "tidings.pub.", "tidings.live.", "tidings.act."
}

func subjectsUnder(prefix string) subjects {
	return subjects{pub: prefix + ".pub.", live: prefix + ".live.", act: prefix + ".act."}
}

func (s subjects) pubTopic(t Topic) string      { return s.pub + string(t) }
func (s subjects) pubPattern(p Pattern) string  { return s.pub + string(p) }
func (s subjects) livePattern(p Pattern) string { return s.live + string(p) }

// topicOf reads the topic out of a subject below base, without allocating when it is one.
func topicOf(base, subject string) (Topic, bool) {
	rest, ok := strings.CutPrefix(subject, base)
	if !ok || !isTopic(rest) {
		return "", false
	}
	return Topic(rest), true
}

// isTopic is ParseTopic without the words.
func isTopic(s string) bool { return checkTokens(s, false) == nil }
