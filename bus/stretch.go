package bus

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/nats-io/nats.go"
)

// stretchAfter reads what filters match of (after, upTo], oldest first, each message once and at most limit of them, or
// until there are so many bytes (0: no matter how many). Nothing of (after, end] is missing.
func (c *Conn) stretchAfter(ctx context.Context, after, upTo uint64, limit, bytes int, filters []string) (raw []*nats.Msg, end uint64, err error) {
	if len(filters) > manyFilters {
		return c.pickAfter(ctx, after, upTo, limit, bytes, filters)
	}
	newest, err := c.newest(ctx, filters)
	if err != nil {
		return nil, 0, err
	}
	// Of each filter a share, and more of those that turn out to have a larger part in the first messages of all.
	share := min(limit, max(4, 2*limit/max(1, len(filters))))
	each := 0
	if bytes > 0 {
		each = max(1, bytes/max(1, len(filters)))
	}
	open := make([]*filtered, len(filters))
	for i, filter := range filters {
		open[i] = &filtered{stretch: stretch{filter, after + 1, upTo, share, each, newest[i]}}
	}
	all := slices.Clone(open)
	for {
		if err := c.readOn(ctx, open); err != nil {
			return nil, 0, err
		}
		raw, end = inOrder(all), upTo
		if bytes > 0 && bytesOf(raw) >= bytes {
			for _, f := range all {
				if f.cut {
					end = min(end, seqOf(f.found[len(f.found)-1]))
				}
			}
			raw = slices.DeleteFunc(raw, func(m *nats.Msg) bool { return seqOf(m) > end })
		}
		if len(raw) > limit || (len(raw) == limit && slices.ContainsFunc(all, func(f *filtered) bool { return f.cut })) {
			raw, end = raw[:limit], seqOf(raw[limit-1])
		}
		open = slices.DeleteFunc(slices.Clone(all), func(f *filtered) bool { return !f.cut || seqOf(f.found[len(f.found)-1]) >= end })
		if len(open) == 0 {
			return raw, end, nil
		}
	}
}

// filtered is what has been read of one filter.
type filtered struct {
	stretch // still to be read
	found   []*nats.Msg
	cut     bool // there is more
}

// readOn reads the next part of some filters side by side, and has the one after that be twice as large.
func (c *Conn) readOn(ctx context.Context, some []*filtered) error {
	parts := make([]stretch, len(some))
	for i, f := range some {
		parts[i] = f.stretch
	}
	found, cut, err := c.readStretches(ctx, parts)
	if err != nil {
		return err
	}
	for i, f := range some {
		f.found, f.cut = append(f.found, found[i]...), cut[i]
		if f.cut {
			f.from, f.limit = seqOf(f.found[len(f.found)-1])+1, 2*f.limit
		}
	}
	return nil
}

// inOrder is what was read of all, by rising Seq, each message once.
func inOrder(all []*filtered) []*nats.Msg {
	var raw []*nats.Msg
	for _, f := range all {
		raw = append(raw, f.found...)
	}
	if len(all) > 1 {
		slices.SortFunc(raw, func(a, b *nats.Msg) int { return cmp.Compare(seqOf(a), seqOf(b)) })
		raw = slices.CompactFunc(raw, func(a, b *nats.Msg) bool { return seqOf(a) == seqOf(b) })
	}
	return raw
}

func bytesOf(raw []*nats.Msg) (bytes int) {
	for _, m := range raw {
		bytes += m.Size()
	}
	return bytes
}

func seqOf(m *nats.Msg) uint64 { return number(m, headerSequence) }

// pickAfter is stretchAfter for many filters. It reads the stream as it is, a page at a time, and ends after some pages also where little
// of them is wanted.
func (c *Conn) pickAfter(ctx context.Context, after, upTo uint64, limit, bytes int, filters []string) (raw []*nats.Msg, end uint64, err error) {
	const pages = 16
	wanted := c.wants(filters)
	newest, err := c.newest(ctx, []string{c.everything()})
	if err != nil {
		return nil, 0, err
	}
	s := stretch{c.everything(), after + 1, upTo, pageMessages, pageBytes, newest[0]}
	for read := 0; ; read++ {
		found, cut, err := c.readStretches(ctx, []stretch{s})
		if err != nil {
			return nil, 0, err
		}
		for _, m := range found[0] {
			if !wanted(lastValue(m.Header, headerSubject)) {
				continue
			}
			if len(raw) == limit {
				return raw, seqOf(m) - 1, nil
			}
			raw = append(raw, m)
		}
		if !cut[0] {
			return raw, upTo, nil
		}
		s.from = seqOf(found[0][len(found[0])-1]) + 1
		if (read+1 >= pages && limit < math.MaxInt32) || (bytes > 0 && bytesOf(raw) >= bytes) {
			return raw, s.from - 1, nil
		}
	}
}

// newest asks the stream's leader for the place of the last message of each filter; 0: none is retained.
func (c *Conn) newest(ctx context.Context, filters []string) ([]uint64, error) {
	places := make([]uint64, len(filters))
	for i, filter := range filters {
		last, _, err := c.stored(ctx, storedRequest{Last: filter})
		if err != nil {
			return nil, err
		}
		places[i] = last.Seq
	}
	return places, nil
}

// stretch is a part of the stream to be read: messages of one subject filter with from <= Seq <= to, oldest first.
type stretch struct {
	filter   string
	from, to uint64
	limit    int    // messages at most
	bytes    int    // after so many it ends too, with the page that brings them; 0: it does not
	newest   uint64 // the filter's last message when to was the stream's last, or later; 0: none
}

// lags tells that a replica which had no more than what it answered has not come as far as the stream's leader.
func (s stretch) lags(end getEnd) bool {
	return end.pending == 0 && end.last < s.to && end.last < s.newest && s.from <= s.newest
}

// page is how many bytes are read of it at a time.
func (s stretch) page() int {
	if s.bytes > 0 {
		return min(s.bytes, pageBytes)
	}
	return pageBytes
}

// readStretches reads them all, page by page, side by side. cut[i] tells that its limit or its bytes ended stretch i. Each page may come from
// another replica; errAgain: one of them lags behind.
func (c *Conn) readStretches(ctx context.Context, stretches []stretch) (found [][]*nats.Msg, cut []bool, err error) {
	found, cut = make([][]*nats.Msg, len(stretches)), make([]bool, len(stretches))
	var open []int // stretches with pages to come
	for i, s := range stretches {
		if s.from <= s.to {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		requests := make([]getRequest, len(open))
		for r, i := range open {
			s := stretches[i]
			// One more than the limit shows whether there are more.
			requests[r] = getRequest{Seq: max(1, s.from), NextFor: s.filter, MaxBytes: s.page(),
				Batch: min(pageMessages, s.limit+1-len(found[i]))}
		}
		ends, err := c.get(ctx, requests, func(r int, m *nats.Msg) {
			if i := open[r]; number(m, headerSequence) <= stretches[i].to {
				found[i] = append(found[i], m)
			}
		})
		if err != nil {
			return nil, nil, err
		}
		var more []int
		for r, i := range open {
			s := &stretches[i]
			if len(found[i]) > s.limit {
				found[i], cut[i] = found[i][:s.limit], true
			} else if s.lags(ends[r]) {
				return nil, nil, errLags
			} else if ends[r].pending > 0 && ends[r].last < s.to {
				if s.bytes > 0 && len(found[i]) > 0 && bytesOf(found[i]) >= s.bytes {
					cut[i] = true
					continue
				}
				s.from = ends[r].last + 1
				more = append(more, i)
			}
		}
		open = more
	}
	return found, cut, nil
}
