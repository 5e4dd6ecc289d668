package client

import (
	"tidings/bus"
	"tidings/edge/wire"
)

// topic is what was heard of one topic, over all lines.
type topic struct {
	name  bus.Topic
	every bool
	seq   uint64 // of the last message; 0: none had one
	time  int64  // the latest of all messages': NATS' clock may have been set back between two
	gone  bool
	subs  []*subscription // those that match it
}

// newTopic refuses what is no topic: an edge can't have meant it.
func newTopic(name string, subs []*subscription) (*topic, error) {
	n, err := bus.ParseTopic(name)
	if err != nil {
		return nil, err
	}
	t := &topic{name: n, every: n.Delivery() == bus.Every}
	t.match(subs)
	return t, nil
}

func (t *topic) match(subs []*subscription) {
	t.subs = nil
	for _, s := range subs {
		if s.pattern.Matches(t.name) {
			t.subs = append(t.subs, s)
		}
	}
}

// verdict is what a message of a topic is, next to what was heard of that topic before.
type verdict uint8

const (
	fresh     verdict = iota // not heard before
	duplicate                // heard already, over another line
	newLife                  // numbered below what was heard, yet taken later: the stream was made anew
)

func (t *topic) judge(m wire.Message) verdict {
	switch {
	case m.Seq > t.seq:
		return fresh
	case m.Timestamp > t.time:
		return newLife
	}
	return duplicate
}
