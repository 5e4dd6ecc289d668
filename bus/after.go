package bus

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// Replay is what came after a position.
type Replay struct {
	Position Position  // where the caller stands once it has taken Messages
	Messages []Message // by rising Seq over all topics, each once; markers are among them
	Lost     []Loss    // by topic
	Complete bool      // nothing of a topic with delivery Every is missing, and this is proven
	More     bool      // the limit cut it short; go on after Position.Seq

	after    uint64
	judged   bool           // some pattern can match a topic with delivery Every
	retained uint64         // the stream's oldest Seq
	full     map[Topic]bool // those of Lost that have come up to their limit: their own messages may have pushed out others
}

// Loss says that messages of Topic with After < Seq < Before are gone from the stream, or may be.
type Loss struct {
	Topic         Topic
	After, Before uint64
}

// From is r as it would read had it been asked for from a later place, at most that of its Position: by what was judged then, and
// without another read. False: it can't be told of such a place.
func (r Replay) From(after uint64) (Replay, bool) {
	if after < r.after || after > r.Position.Seq || (r.More && after != r.after) {
		return Replay{}, false
	}
	i, _ := slices.BinarySearchFunc(r.Messages, after+1, func(m Message, seq uint64) int { return cmp.Compare(m.Seq, seq) })
	later := r
	later.after, later.Messages, later.Lost = after, r.Messages[i:], nil
	for _, l := range r.Lost {
		// What is behind a loss is the oldest that is retained of its topic: at or before the place, it acquits the topic (acquit).
		if l.Before > after+1 && (r.full[l.Topic] || r.retained > after+1) {
			later.Lost = append(later.Lost, Loss{Topic: l.Topic, After: after, Before: l.Before})
		}
	}
	later.Complete = later.complete()
	return later, true
}

// complete tells whether nothing is missing.
func (r Replay) complete() bool {
	return len(r.Lost) == 0 && (r.retained <= r.after+1 || !r.judged)
}

// After returns all retained messages of the patterns with Seq > after, at most limit of them (0 or less: all). Prev of each is
// true, as with Last. The caller has seen to it that after is of the stream's present epoch.
//
// Complete for a topic means that its loss is ruled out: a message at or before after is still retained, and since what
// is evicted is evicted oldest first, so is all that followed; or the stream itself reaches back to after and the topic
// has not come up to its limit. All else is a Loss, even if nothing was lost in truth. Only topics with delivery Every are
// judged. What lapsed by a TTL of its own or was deleted by an operator is no loss.
//
// If after lies beyond the stream's last Seq, and its leader is in touch with the others, it cannot be of this epoch: the answer is
// empty, not Complete, and without any Loss, and Position is the stream's end.
func (c *Conn) After(ctx context.Context, after uint64, limit int, patterns ...Pattern) (Replay, error) {
	if limit <= 0 {
		limit = math.MaxInt32
	}
	return c.AfterWithin(ctx, after, limit, 0, patterns...)
}

// errUnsure says that a leader that may have been cut off does not know a place.
var errUnsure = errors.New("the stream's leader does not have the position, and has not heard of most replicas of late")

// AfterWithin is After that is cut short by bytes as well, after some more than so many (0: it is not).
func (c *Conn) AfterWithin(ctx context.Context, after uint64, limit, bytes int, patterns ...Pattern) (Replay, error) {
	var replay Replay
	err := c.read(ctx, readAfter, func(ctx context.Context) (err error) {
		replay, err = c.after(ctx, after, limit, bytes, patterns)
		return err
	})
	c.metrics.read[readAfter].messages.Add(float64(len(replay.Messages)))
	return replay, err
}

func (c *Conn) after(ctx context.Context, after uint64, limit, bytes int, patterns []Pattern) (Replay, error) {
	info, err := c.streamInfo(ctx)
	if err != nil {
		return Replay{}, err
	}
	state := stateOf(info)
	replay := Replay{Position: Position{Epoch: state.Epoch, Seq: state.LastSeq}, after: after, judged: anyEvery(patterns)}
	if after > state.LastSeq && !leads(info) {
		return Replay{}, errUnsure
	}
	if after >= state.LastSeq {
		replay.Complete = after == state.LastSeq
		return replay, nil
	}
	filters := c.filters(patterns)
	raw, end, err := c.stretchAfter(ctx, after, state.LastSeq, limit, bytes, filters)
	if err != nil {
		return Replay{}, err
	}
	replay.Position.Seq, replay.More = end, end < state.LastSeq
	// Judged after the messages were read: what was evicted meanwhile then shows.
	retained, err := c.retained(ctx, filters, state.Epoch)
	if err != nil {
		return Replay{}, err
	}
	if replay.Messages, err = c.linked(ctx, raw, after, retained); err != nil {
		return Replay{}, err
	}
	judge := judge{after: after, upTo: replay.Position.Seq, retained: retained, maxPerTopic: limitsOf(info.Config).maxPerTopic}
	if replay.Lost, err = c.losses(ctx, judge, raw, patterns); err != nil {
		return Replay{}, err
	}
	replay.retained, replay.full = retained.first, map[Topic]bool{}
	for _, l := range replay.Lost {
		replay.full[l.Topic] = judge.full(l.Topic)
	}
	replay.Complete = replay.complete()
	return replay, nil
}

// linked decodes raw, leaves out what is invalid, and sets Prev.
func (c *Conn) linked(ctx context.Context, raw []*nats.Msg, after uint64, retained retained) ([]Message, error) {
	messages := make([]Message, 0, len(raw))
	seen := map[Topic]uint64{} // messages of each topic, invalid ones too
	for _, r := range raw {
		m, err := c.decodeStored(r)
		seen[m.Topic]++
		if err == nil {
			messages = append(messages, m)
		}
	}
	// Only where more is retained than was read can there be one before.
	var asks []place
	for t, n := range seen {
		if retained.topics[t] > n {
			asks = append(asks, place{t, after + 1})
		}
	}
	before, err := c.before(ctx, asks)
	if err != nil {
		return nil, err
	}
	prev := make(map[Topic]uint64, len(seen))
	for p, m := range before {
		prev[p.topic] = m.Seq
	}
	for i := range messages {
		m := &messages[i]
		m.Prev, prev[m.Topic] = prev[m.Topic], m.Seq
	}
	return messages, nil
}

// judge is what a verdict on (after, upTo] rests on.
type judge struct {
	after, upTo uint64
	retained    retained
	maxPerTopic uint64 // 0: no limit
}

// full tells whether a topic has come up to its limit.
func (j judge) full(t Topic) bool { return j.maxPerTopic > 0 && j.retained.topics[t] >= j.maxPerTopic }

// losses names each topic of which the stretch is not provably whole.
func (c *Conn) losses(ctx context.Context, j judge, raw []*nats.Msg, patterns []Pattern) ([]Loss, error) {
	suspects := map[Topic]bool{}
	for t := range j.retained.topics {
		if t.Delivery() == Every && (j.full(t) || j.retained.first > j.after+1) {
			suspects[t] = true
		}
	}
	for _, p := range patterns {
		// A topic asked for by name may have lost all it had.
		if t := Topic(p); p.IsTopic() && t.Delivery() == Every && j.retained.first > j.after+1 {
			suspects[t] = true
		}
	}
	if err := c.acquit(ctx, j, suspects); err != nil {
		return nil, err
	}
	first := make(map[Topic]uint64, len(suspects))
	for _, m := range raw {
		if t, ok := topicOf(c.subjects.pub, lastValue(m.Header, headerSubject)); ok && first[t] == 0 {
			first[t] = number(m, headerSequence)
		}
	}
	var lost []Loss
	for t := range suspects {
		before := first[t]
		if before == 0 {
			before = j.upTo + 1
		}
		if before > j.after+1 { // else nothing fits between
			lost = append(lost, Loss{Topic: t, After: j.after, Before: before})
		}
	}
	slices.SortFunc(lost, func(a, b Loss) int { return strings.Compare(string(a.Topic), string(b.Topic)) })
	return lost, nil
}

// acquit takes the topics from suspects that still have a message at or before after: eviction goes oldest first.
func (c *Conn) acquit(ctx context.Context, j judge, suspects map[Topic]bool) error {
	if j.after < j.retained.first {
		return nil // the stream itself has none
	}
	topics := make([]Topic, 0, len(suspects))
	requests := make([]getRequest, 0, len(suspects))
	for t := range suspects {
		topics = append(topics, t)
		requests = append(requests, getRequest{Seq: 1, NextFor: c.subjects.pubTopic(t)})
	}
	_, err := c.get(ctx, requests, func(i int, m *nats.Msg) {
		if number(m, headerSequence) <= j.after {
			delete(suspects, topics[i])
		}
	})
	return err
}

// anyEvery tells whether a pattern can match a topic with delivery Every.
func anyEvery(patterns []Pattern) bool {
	return slices.ContainsFunc(patterns, func(p Pattern) bool { return Topic(p).Delivery() == Every })
}
