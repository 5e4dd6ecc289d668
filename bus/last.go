package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Snapshot is how things stand. Nothing of the patterns asked for that has Seq <= Position.Seq is missing from it.
type Snapshot struct {
	Position Position
	Messages []Message // by rising Seq over all topics
}

// Last returns the last retained message of every topic that one of the patterns matches, however many there are. Markers
// are left out; where the last message is not valid, the last valid one takes its place. Prev of each is the place of the
// valid message (or marker) that is retained before it on its topic.
func (c *Conn) Last(ctx context.Context, patterns ...Pattern) (Snapshot, error) {
	return c.snapshot(ctx, patterns, true)
}

// Ends is Last for those who only look how far each topic has come: Prev of all messages is 0. It asks NATS for all patterns at
// once, where Last has to ask about each.
func (c *Conn) Ends(ctx context.Context, patterns ...Pattern) (Snapshot, error) {
	return c.snapshot(ctx, patterns, false)
}

func (c *Conn) snapshot(ctx context.Context, patterns []Pattern, prev bool) (Snapshot, error) {
	var snapshot Snapshot
	err := c.read(ctx, readLast, func(ctx context.Context) (err error) {
		snapshot, err = c.last(ctx, c.filters(patterns), prev)
		return err
	})
	c.metrics.read[readLast].messages.Add(float64(len(snapshot.Messages)))
	return snapshot, err
}

func (c *Conn) last(ctx context.Context, filters []string, prev bool) (Snapshot, error) {
	state, err := c.StreamState(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	raw, upTo, err := c.lastOf(ctx, filters, state)
	if err != nil {
		return Snapshot{}, err
	}
	messages, err := c.validLasts(ctx, raw)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot := Snapshot{Position: Position{Epoch: state.Epoch, Seq: upTo}, Messages: messages}
	if state.LastSeq == 0 {
		return snapshot, nil
	}
	if !prev && len(raw) > 0 { // with none, it may be that whoever answered lags
		return snapshot, nil
	}
	// Counted after the messages were read: a topic that counts one has none before its last.
	retained, err := c.retained(ctx, filters, state.Epoch)
	if err != nil {
		return Snapshot{}, err
	}
	if len(raw) == 0 && len(retained.topics) > 0 && upTo >= retained.first {
		return Snapshot{}, errLags
	}
	var asks []place
	for _, m := range messages {
		if retained.topics[m.Topic] > 1 {
			asks = append(asks, place{m.Topic, m.Seq})
		}
	}
	before, err := c.before(ctx, asks)
	if err != nil {
		return Snapshot{}, err
	}
	for i := range messages {
		messages[i].Prev = before[place{messages[i].Topic, messages[i].Seq}].Seq
	}
	return snapshot, nil
}

// lastOf is the last message of each subject as the stream stood at upTo, by rising Seq, not yet checked.
func (c *Conn) lastOf(ctx context.Context, filters []string, state StreamState) (raw []*nats.Msg, upTo uint64, err error) {
	if state.LastSeq == 0 || len(filters) == 0 {
		return nil, state.LastSeq, nil
	}
	chunks := chunked(filters)
	if len(chunks) == 1 {
		// Without UpTo NATS answers from its index; with it, it may have to walk through the stream.
		raw, upTo, err = c.multiLast(ctx, chunks, 0)
		if err == nil && len(raw) > 0 && upTo < state.LastSeq {
			err = errLags
		}
		if !errors.Is(err, errTooMany) {
			return raw, max(upTo, state.LastSeq), err
		}
	}
	// More than NATS answers at once: take the list of topics, and ask for as many at once as it allows.
	retained, err := c.retained(ctx, filters, state.Epoch)
	if err != nil {
		return nil, 0, err
	}
	subjects := make([]string, 0, len(retained.topics))
	for t := range retained.topics {
		subjects = append(subjects, c.subjects.pubTopic(t))
	}
	raw, _, err = c.multiLast(ctx, chunked(subjects), retained.last)
	slices.SortFunc(raw, func(a, b *nats.Msg) int {
		return cmp.Compare(number(a, headerSequence), number(b, headerSequence))
	})
	return raw, retained.last, err
}

var errTooMany = errors.New("more than 1,024 topics match")

// multiLast asks for chunks of subjects side by side, and for what did not fit into a reply again.
func (c *Conn) multiLast(ctx context.Context, chunks [][]string, upTo uint64) (raw []*nats.Msg, at uint64, err error) {
	requests := make([]getRequest, len(chunks))
	for i, chunk := range chunks {
		requests[i] = getRequest{MultiLast: chunk, UpTo: upTo, Batch: maxMultiLast, MaxBytes: pageBytes}
	}
	for len(requests) > 0 {
		ends, err := c.get(ctx, requests, func(_ int, m *nats.Msg) { raw = append(raw, m) })
		if err != nil {
			return nil, 0, err
		}
		var more []getRequest
		for i, end := range ends {
			if end.tooMany {
				return nil, 0, errTooMany
			}
			at = max(at, end.upTo)
			if end.pending > 0 {
				next := requests[i]
				next.Seq, next.UpTo = end.last+1, end.upTo
				more = append(more, next)
			}
		}
		requests = more
	}
	return raw, at, nil
}

// validLasts leaves markers out, and takes the one before for each that is not valid. The order stays by Seq.
func (c *Conn) validLasts(ctx context.Context, raw []*nats.Msg) ([]Message, error) {
	messages := make([]Message, 0, len(raw))
	var invalid []place
	for _, r := range raw {
		switch m, err := c.decodeStored(r); {
		case err != nil && m.Topic != "":
			invalid = append(invalid, place{m.Topic, m.Seq})
		case err == nil && !m.Gone:
			messages = append(messages, m)
		}
	}
	if len(invalid) == 0 {
		return messages, nil
	}
	before, err := c.before(ctx, invalid)
	if err != nil {
		return nil, err
	}
	for _, m := range before {
		if !m.Gone {
			messages = append(messages, m)
		}
	}
	slices.SortFunc(messages, bySeq)
	return messages, nil
}

// place is where to look back from.
type place struct {
	topic Topic
	seq   uint64
}

// before finds for each place the last valid message (or marker) before it on its topic. Places without one are not in
// the answer.
func (c *Conn) before(ctx context.Context, places []place) (map[place]Message, error) {
	const maxSteps = 16 // over as many invalid messages in a row; a publisher that sends more hides what came before them
	found := make(map[place]Message, len(places))
	from := make(map[place]place, len(places)) // where we stand now → where we started
	for _, p := range places {
		from[p] = p
	}
	for range maxSteps {
		if len(from) == 0 {
			break
		}
		raw, err := c.lookBack(ctx, from)
		if err != nil {
			return nil, err
		}
		next := map[place]place{}
		for at, r := range raw {
			m, err := c.decodeStored(r)
			if err == nil {
				found[from[at]] = m
			} else if m.Topic != "" {
				next[place{m.Topic, m.Seq}] = from[at]
			}
		}
		from = next
	}
	return found, nil
}

// lookBack is one step of before: what is retained before each place, whatever it is. A replica that has not come to a place yet
// has no answer, as if there were nothing before it. While such a one takes part what was not answered is asked again, which
// another one may hear; errLags: none did.
func (c *Conn) lookBack(ctx context.Context, places map[place]place) (map[place]*nats.Msg, error) {
	open := make([]place, 0, len(places))
	for p := range places {
		if p.seq > 1 {
			open = append(open, p)
		}
	}
	raw := make(map[place]*nats.Msg, len(places))
	const rounds = 8
	for range rounds {
		silent, err := c.askBack(ctx, open, raw)
		if err == nil {
			open, err = c.unproven(ctx, silent)
		}
		if err != nil || len(open) == 0 {
			return raw, err
		}
	}
	return nil, errLags
}

// askBack enters what is retained before each place, and returns those places that had no answer. Places with one Seq share a
// request.
func (c *Conn) askBack(ctx context.Context, places []place, raw map[place]*nats.Msg) (silent []place, err error) {
	bySeq := map[uint64][]place{}
	for _, p := range places {
		bySeq[p.seq] = append(bySeq[p.seq], p)
	}
	var requests []getRequest
	var asked [][]place // by each of them
	for seq, list := range bySeq {
		subjects := make([]string, len(list))
		for i, p := range list {
			subjects[i] = c.subjects.pubTopic(p.topic)
		}
		for _, chunk := range chunked(subjects) {
			requests = append(requests, getRequest{MultiLast: chunk, UpTo: seq - 1, Batch: len(chunk)})
			asked, list = append(asked, list[:len(chunk)]), list[len(chunk):]
		}
	}
	_, err = c.get(ctx, requests, func(i int, m *nats.Msg) {
		asked[i] = nil
		if t, ok := topicOf(c.subjects.pub, lastValue(m.Header, headerSubject)); ok {
			raw[place{t, requests[i].UpTo + 1}] = m
		}
	})
	return slices.Concat(asked...), err
}

// unproven are those of some places before which something may be retained. The topics have a message at or behind them: a replica
// whose oldest one is that has come to the place, and has nothing before it.
func (c *Conn) unproven(ctx context.Context, places []place) (open []place, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	requests := make([]getRequest, len(places))
	for i, p := range places {
		requests[i] = getRequest{Seq: 1, NextFor: c.subjects.pubTopic(p.topic)}
	}
	oldest := make([]uint64, len(places))
	if _, err := c.get(ctx, requests, func(i int, m *nats.Msg) { oldest[i] = number(m, headerSequence) }); err != nil {
		return nil, err
	}
	for i, p := range places {
		if oldest[i] < p.seq { // 0: it has none, and lags
			open = append(open, p)
		}
	}
	return open, nil
}

// retained is which topics have messages in the stream, and how many.
type retained struct {
	topics      map[Topic]uint64
	first, last uint64 // of the whole stream
}

func (c *Conn) retained(ctx context.Context, filters []string, epoch string) (retained, error) {
	r := retained{topics: map[Topic]uint64{}}
	wanted := c.wants(filters)
	if len(filters) > manyFilters {
		filters = []string{c.everything()}
	}
	for _, filter := range filters {
		info, err := c.streamInfo(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return retained{}, err
		}
		state := stateOf(info)
		if state.Epoch != epoch {
			return retained{}, errAgain
		}
		r.first, r.last = max(r.first, state.FirstSeq), state.LastSeq
		for subject, n := range info.State.Subjects {
			if t, ok := topicOf(c.subjects.pub, subject); ok && wanted(subject) {
				r.topics[t] = n
			}
		}
	}
	return r, nil
}

// chunked splits subjects into parts that fit into one request and whose answer fits into one batch.
func chunked(subjects []string) [][]string {
	var chunks [][]string
	size := 0
	for i, s := range subjects {
		if size += len(s) + len(`"",`); i == 0 || len(chunks[len(chunks)-1]) == maxMultiLast || size > maxFilterSize {
			chunks, size = append(chunks, nil), len(s)
		}
		end := len(chunks) - 1
		chunks[end] = append(chunks[end], s)
	}
	return chunks
}

func bySeq(a, b Message) int { return cmp.Compare(a.Seq, b.Seq) }

// read runs one of the reads of the closed list: a few at once, timed, counted, and anew when the stream changed meanwhile.
func (c *Conn) read(ctx context.Context, what string, attempt func(context.Context) error) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	select {
	case c.reads <- struct{}{}:
		defer func() { <-c.reads }()
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for other reads: %w", strings.ReplaceAll(what, "_", " "), ctx.Err())
	}
	start := time.Now()
	err := attempt(ctx)
	const attempts = 5
	for i := 1; i < attempts && errors.Is(err, errAgain); i++ {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(i) * 20 * time.Millisecond):
		}
		err = attempt(ctx)
	}
	c.metrics.read[what].seconds.Observe(time.Since(start).Seconds())
	if err != nil {
		c.metrics.read[what].failures.Inc()
		return fmt.Errorf("read the stream (%s): %w", what, err)
	}
	return nil
}
