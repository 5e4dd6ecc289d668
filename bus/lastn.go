package bus

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go"
)

// LastN returns up to n retained messages of each topic that pattern matches, the newest ones, as Last does: so that a
// chart opens full. All of them are held in memory at once: n times the number of topics is the caller's to bound.
func (c *Conn) LastN(ctx context.Context, pattern Pattern, n int) (Snapshot, error) {
	var snapshot Snapshot
	err := c.read(ctx, readLastN, func(ctx context.Context) (err error) {
		if n <= 1 {
			snapshot, err = c.last(ctx, c.filters([]Pattern{pattern}), true)
		} else {
			snapshot, err = c.lastN(ctx, c.filters([]Pattern{pattern}), n)
		}
		return err
	})
	c.metrics.read[readLastN].messages.Add(float64(len(snapshot.Messages)))
	return snapshot, err
}

// tail is the newest stretch of one topic while it is being read.
type tail struct {
	topic Topic
	count uint64 // retained
	first uint64 // Seq of the oldest retained, or 1: not above it
	from  uint64 // where reading starts
	last  uint64 // Seq of the newest up to where reading ends; 0: none
	found []*nats.Msg
}

func (c *Conn) lastN(ctx context.Context, filters []string, n int) (Snapshot, error) {
	state, err := c.StreamState(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	lasts, upTo, err := c.lastOf(ctx, filters, state)
	if err != nil {
		return Snapshot{}, err
	}
	last := make(map[Topic]uint64, len(lasts))
	for _, m := range lasts {
		if t, ok := topicOf(c.subjects.pub, lastValue(m.Header, headerSubject)); ok {
			last[t] = number(m, headerSequence)
		}
	}
	retained, err := c.retained(ctx, filters, state.Epoch)
	if err != nil {
		return Snapshot{}, err
	}
	wanted := uint64(n) + 1 // the one before the oldest is its Prev
	tails := make([]tail, 0, len(retained.topics))
	for t, count := range retained.topics {
		tails = append(tails, tail{topic: t, count: count, first: 1, from: 1, last: last[t]})
	}
	if err := c.aim(ctx, tails, wanted, upTo); err != nil {
		return Snapshot{}, err
	}
	if err := c.readTails(ctx, tails, upTo); err != nil {
		return Snapshot{}, err
	}
	// Where messages came less evenly than thought, what is missing lies before.
	var short []tail
	for i, t := range tails {
		if uint64(len(t.found)) < wanted && t.from > t.first {
			short = append(short, tails[i])
		}
	}
	earlier := make([]stretch, len(short))
	for i, t := range short {
		earlier[i] = stretch{c.subjects.pubTopic(t.topic), t.first, t.from - 1, int(t.count), 0, 0}
	}
	before, _, err := c.readStretches(ctx, earlier)
	if err != nil {
		return Snapshot{}, err
	}
	earlierOf := map[Topic][]*nats.Msg{}
	for i, t := range short {
		earlierOf[t.topic] = before[i]
	}
	snapshot := Snapshot{Position: Position{Epoch: state.Epoch, Seq: upTo}}
	for _, t := range tails {
		chain := c.chain(append(earlierOf[t.topic], t.found...))
		chain = slices.DeleteFunc(chain, func(m Message) bool { return m.Gone })
		snapshot.Messages = append(snapshot.Messages, chain[max(0, len(chain)-n):]...)
	}
	slices.SortFunc(snapshot.Messages, bySeq)
	return snapshot, nil
}

// aim sets where to start reading the topics of which more is retained than wanted: as if their messages had come evenly,
// and a bit before. Reading such a topic from its beginning would cost up to the stream's whole limit per topic.
func (c *Conn) aim(ctx context.Context, tails []tail, wanted, upTo uint64) error {
	var long []int
	var requests []getRequest
	for i, t := range tails {
		if t.count > wanted+wanted/4 {
			long = append(long, i)
			requests = append(requests, getRequest{Seq: 1, NextFor: c.subjects.pubTopic(t.topic)})
		}
	}
	_, err := c.get(ctx, requests, func(r int, m *nats.Msg) {
		t := &tails[long[r]]
		t.first = number(m, headerSequence)
		if t.first < upTo {
			back := float64(upTo-t.first) * 1.25 * float64(wanted) / float64(t.count)
			t.from = max(t.first, upTo-min(upTo, uint64(back)))
		}
	})
	return err
}

func (c *Conn) readTails(ctx context.Context, tails []tail, upTo uint64) error {
	stretches := make([]stretch, len(tails))
	for i, t := range tails {
		// More than counted may have come since, but not with Seq up to upTo.
		stretches[i] = stretch{c.subjects.pubTopic(t.topic), t.from, upTo, int(t.count), 0, t.last}
	}
	found, _, err := c.readStretches(ctx, stretches)
	if err != nil {
		return err
	}
	for i := range tails {
		tails[i].found = found[i]
	}
	return nil
}

// chain decodes the messages of one topic, oldest first, and links each valid one (or marker) to the one before it.
func (c *Conn) chain(raw []*nats.Msg) []Message {
	messages := make([]Message, 0, len(raw))
	prev := uint64(0)
	for _, r := range raw {
		m, err := c.decodeStored(r)
		if err != nil {
			continue
		}
		m.Prev, prev = prev, m.Seq
		messages = append(messages, m)
	}
	return messages
}
