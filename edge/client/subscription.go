package client

import (
	"strings"

	"tidings/bus"
	"tidings/edge/wire"
)

// subscription is one pattern that is wanted, and how far it has come.
type subscription struct {
	pattern bus.Pattern
	options Options
	brings  kinds

	// Written by Run's goroutine under Client.mu.
	position wire.Position // where a resume starts; no Epoch: there is nothing to resume

	// Run's goroutine alone.
	seen uint64 // highest seq of the `every` topics
	mark uint64 // seen, as of the last heartbeat
}

// kinds says topics of which delivery a pattern can match. It decides from what
// one may resume: see doc.go.
type kinds uint8

const (
	everyOnly  kinds = iota // rising over all topics: each message is a position
	latestOnly              // in no order between topics: only an ack is a position
	mixed                   // both
)

func newSubscription(p bus.Pattern, o Options) *subscription {
	s := &subscription{pattern: p, options: o}
	switch first, _, _ := strings.Cut(string(p), "."); {
	case first == "*" || first == ">":
		s.brings = mixed
	case bus.Topic(first).Delivery() == bus.Latest:
		s.brings = latestOnly
	}
	return s
}

// want is the subscription as it is to be asked for on a new connection.
func (s *subscription) want() wire.Want {
	if s.position.Epoch != "" {
		since := s.position
		// Not snapshot:false, even if only live messages were wanted: what came
		// meanwhile was live once.
		return wire.Want{Topic: string(s.pattern), Since: &since, Snapshot: true, Interval: s.options.Interval}
	}
	return wire.Want{
		Topic:    string(s.pattern),
		Since:    s.options.Since,
		Last:     s.options.Last,
		Snapshot: !s.options.LiveOnly,
		Interval: s.options.Interval,
	}
}

// holding is a subscription as one connection serves it.
type holding struct {
	epoch    string
	ack      uint64 // the ack's seq
	beats    int    // quiet heartbeats since the ack
	complete bool   // all that the ack promised has come
}

// start enters how the edge took a want, and reports what the position becomes if there is
// nothing that still has to come before it holds.
func (s *subscription) start(w wire.Want, a wire.AckTopic) (h *holding, at wire.Position) {
	h = &holding{epoch: a.Epoch, ack: a.Seq}
	recovered := a.Recovered != nil && *a.Recovered
	if a.Epoch != s.position.Epoch {
		s.seen, s.mark = 0, 0
	}
	switch {
	case a.Epoch == "":
		return h, s.position
	case s.brings == latestOnly && (w.Snapshot || w.Last > 0):
		// The snapshot is still to come, and in no order.
		return h, s.position
	case recovered:
		// Replayed messages will move it on from here.
		return h, *w.Since
	}
	h.complete = true
	s.seen, s.mark = a.Seq, a.Seq
	return h, wire.Position{Epoch: a.Epoch, Seq: a.Seq}
}

// message reports the position after a message of an `every` topic.
func (s *subscription) message(h *holding, seq uint64) wire.Position {
	s.seen = max(s.seen, seq)
	if s.brings != everyOnly || h.epoch == "" || s.position.Epoch != h.epoch {
		return s.position
	}
	return wire.Position{Epoch: h.epoch, Seq: max(s.position.Seq, seq)}
}

// beat reports the position at a heartbeat. quiet: since the one before, nothing came that an ack
// had promised, and the edge has its NATS. After two of them in a row all promises are taken as
// kept, for the edge's output is in order but for what it conflates.
func (s *subscription) beat(h *holding, quiet bool) wire.Position {
	if h.epoch == "" {
		return s.position
	}
	if !quiet {
		h.beats = 0
		return s.position
	}
	at := s.position
	if h.beats++; h.beats >= 2 && !h.complete {
		h.complete = true
		if at.Epoch != h.epoch {
			at = wire.Position{Epoch: h.epoch}
		}
		at.Seq = max(at.Seq, h.ack)
	}
	if s.brings == mixed {
		// What was seen a whole heartbeat ago has no older value of a `latest` topic behind it any more.
		if h.complete && at.Epoch == h.epoch {
			at.Seq = max(at.Seq, s.mark)
		}
		s.mark = s.seen
	}
	return at
}
