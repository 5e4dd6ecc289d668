package client

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"tidings/edge/wire"
)

// message takes one message of a line.
func (r *run) message(ctx context.Context, l *line, m wire.Message, text []byte) {
	if m.IsData() {
		r.data(l, m, text)
		return
	}
	var err error
	switch wire.MessageType(m.Type) {
	case wire.TypeAck:
		err = r.acked(l, m)
	case wire.TypeError:
		err = r.refused(ctx, l, m)
	case wire.TypeGap:
		err = r.gap(l, m, text)
	case wire.TypeHeartbeat:
		r.heartbeat(l)
	case wire.TypeStatus:
		var p wire.StatusPayload
		if err = json.Unmarshal(m.Payload, &p); err == nil {
			l.degraded = p.Upstream == wire.UpstreamDegraded
			if l == r.current || r.current == nil {
				r.cfg.Handler.Status(p)
			}
		}
	case wire.TypeGoingAway:
		var p wire.GoingAwayPayload
		if err = json.Unmarshal(m.Payload, &p); err == nil {
			l.moving = &p
			r.move(p)
		}
	}
	if err != nil {
		r.cfg.Logger.Warn("ignored a message of the edge", "type", m.Type, "error", err)
	}
}

// data hands a message on unless it was heard before, and moves the positions on.
func (r *run) data(l *line, m wire.Message, text []byte) {
	t := r.topics[m.Topic]
	if t == nil {
		var err error
		if t, err = newTopic(m.Topic, r.client.subscriptions()); err != nil {
			r.cfg.Logger.Warn("ignored a message of the edge", "error", err)
			return
		}
		if len(t.subs) == 0 {
			return // on its way when it was unsubscribed
		}
		r.topics[m.Topic] = t
	}
	if m.Seq == 0 {
		// Without a place a duplicate can't be told, so only one line is heard.
		if l == r.current {
			r.cfg.Handler.Message(Message{Message: m, Raw: text})
		}
		return
	}
	if m.Seq <= l.ack {
		l.busy = true
	}
	switch t.judge(m) {
	case duplicate:
		return
	case newLife:
		r.newLife()
		t.gone, t.time = false, 0
		r.topics[m.Topic] = t
	}
	missed := t.seq != 0 && m.Prev > t.seq
	t.seq, t.time = m.Seq, max(t.time, m.Timestamp)
	r.cfg.Handler.Message(Message{Message: m, Raw: text, Missed: missed})
	if t.every {
		r.advance(l, t.subs, func(s *subscription, h *holding) wire.Position { return s.message(h, m.Seq) })
	}
	r.remember(t, m.Gone)
}

// advance sets the positions of those subscriptions that the line serves.
func (r *run) advance(l *line, subs []*subscription, position func(*subscription, *holding) wire.Position) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	for _, s := range subs {
		if h := l.held[s]; h != nil {
			s.position = position(s, h)
		}
	}
}

// remember counts the topics that are gone, and forgets them when they are many. While two lines
// are open they are needed to tell duplicates.
func (r *run) remember(t *topic, gone bool) {
	switch {
	case gone && !t.gone:
		r.gone++
	case !gone && t.gone:
		r.gone--
	}
	t.gone = gone
	if r.gone <= maxGone || r.next != nil {
		return
	}
	for name, t := range r.topics {
		if t.gone {
			delete(r.topics, name)
		}
	}
	r.gone = 0
}

// newLife forgets what was heard of the stream that is no more. The positions keep the old epoch
// until the next ack: it makes the edge say what is lost.
func (r *run) newLife() {
	clear(r.topics)
	r.gone = 0
	r.epoch = ""
}

func (r *run) acked(l *line, m wire.Message) error {
	request := l.requests[m.ID]
	delete(l.requests, m.ID)
	if request == nil || len(request.subs) == 0 {
		return nil
	}
	var p wire.AckPayload
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return err
	}
	for i, s := range request.subs {
		at := slices.IndexFunc(p.Topics, func(t wire.AckTopic) bool { return t.Topic == string(s.pattern) })
		if at < 0 || !l.asked[s] {
			continue
		}
		r.subscribed(l, s, request.wants[i], p.Topics[at])
	}
	return nil
}

func (r *run) subscribed(l *line, s *subscription, w wire.Want, a wire.AckTopic) {
	if a.Epoch != "" {
		if r.epoch != "" && r.epoch != a.Epoch {
			r.newLife()
		}
		r.epoch = a.Epoch
	}
	l.ack = max(l.ack, a.Seq)
	r.patience.reset()
	r.client.mu.Lock()
	l.held[s], s.position = s.start(w, a)
	r.client.mu.Unlock()
	r.cfg.Handler.Subscribed(Subscribed{
		Pattern:   string(s.pattern),
		Position:  wire.Position{Epoch: a.Epoch, Seq: a.Seq},
		Resumed:   w.Since != nil,
		Recovered: a.Recovered != nil && *a.Recovered,
	})
}

// refused takes an error of the edge. A subscribe is refused whole, so one of several patterns is asked for
// again one by one, to find out which it was.
func (r *run) refused(ctx context.Context, l *line, m wire.Message) error {
	var p wire.ErrorPayload
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return err
	}
	request := l.requests[m.ID]
	delete(l.requests, m.ID)
	told := &wire.Error{Code: p.Code, Message: p.Message, RetryAfter: time.Duration(p.RetryAfterMS) * time.Millisecond}
	if request == nil || len(request.subs) == 0 {
		r.cfg.Handler.Refused("", told)
		return nil
	}
	if passing(p.Code) {
		for _, s := range request.subs {
			delete(l.asked, s)
		}
		wait := r.patience.next(min(told.RetryAfter, maxRetryAfter))
		r.cfg.Logger.Info("the edge can't take a subscription yet", "error", told, "retry", wait)
		r.again.Reset(wait)
		return nil
	}
	if len(request.subs) > 1 {
		for _, s := range request.subs {
			if l.asked[s] {
				l.subscribe(ctx, []*subscription{s})
			}
		}
		return nil
	}
	s := request.subs[0]
	if l.asked[s] {
		delete(l.asked, s)
		r.client.drop(s)
		r.cfg.Handler.Refused(string(s.pattern), told)
	}
	return nil
}

// passing reports whether the same request may be taken later.
func passing(c wire.Code) bool {
	return c == wire.Unavailable || c == wire.TooManyRequests || c == wire.Timeout || c == wire.Internal
}

// gap tells of a loss, unless what this line does not have came over the one that it succeeds.
func (r *run) gap(l *line, m wire.Message, text []byte) error {
	g := Gap{Topic: m.Topic, Raw: text}
	if err := json.Unmarshal(m.Payload, &g.GapPayload); err != nil {
		return err
	}
	t := r.topics[m.Topic]
	switch {
	case t == nil:
	case g.Reason == wire.GapEpoch:
		t.seq = 0
	case l.successor && g.Before != 0 && g.Before-1 <= min(l.ack, t.seq):
		return nil
	}
	r.cfg.Handler.Gap(g)
	return nil
}

func (r *run) heartbeat(l *line) {
	quiet := !l.busy && !l.degraded
	l.busy = false
	if l != r.current {
		return
	}
	r.advance(l, r.client.subscriptions(), func(s *subscription, h *holding) wire.Position { return s.beat(h, quiet) })
}
