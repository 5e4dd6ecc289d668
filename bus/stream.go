package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamState is what the stream holds.
type StreamState struct {
	Epoch    string
	FirstSeq uint64 // of the oldest message retained; LastSeq+1 when none is
	LastSeq  uint64 // of the newest message ever taken; 0: none
	Messages uint64
	Bytes    uint64
}

// End is where the stream ends, as its leader has it. Only when it is sure does that mean that there is nothing behind: a leader that was
// cut off from its cluster a while ago knows only what was before, and the others may have gone on without it.
func (c *Conn) End(ctx context.Context) (at Position, sure bool, err error) {
	info, err := c.streamInfo(ctx)
	if err != nil {
		return Position{}, false, fmt.Errorf("ask for the stream's end: %w", err)
	}
	state := stateOf(info)
	return Position{Epoch: state.Epoch, Seq: state.LastSeq}, leads(info), nil
}

// errLeaderless says that a server answered for want of a leader, with what it knew when it last had one: nothing follows from that.
var errLeaderless = errors.New("the stream has no leader, since most of its replicas are out of reach")

// askStream asks for a stream. What a replica tells while there is no leader is not taken for an answer (nats-server,
// processClusterStreamInfoRequest: "if we have stalled and lost quorum all can respond").
func askStream(ctx context.Context, stream jetstream.Stream, options ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := stream.Info(ctx, options...)
	if err == nil && leaderless(info) {
		err = errLeaderless
	}
	return info, err
}

func leaderless(info *jetstream.StreamInfo) bool {
	return info.Config.Replicas > 1 && info.Cluster != nil && info.Cluster.Leader == ""
}

// leaderFresh is how long a leader that is cut off is the only one for certain: the others wait for four seconds before they elect one.
const leaderFresh = 3 * time.Second

// leads tells that most replicas were heard of by the leader that answered lately enough for there to be no other.
func leads(info *jetstream.StreamInfo) bool {
	if info.Config.Replicas <= 1 || info.Cluster == nil {
		return true
	}
	heard := 1 // itself
	for _, r := range info.Cluster.Replicas {
		if !r.Offline && r.Active < leaderFresh {
			heard++
		}
	}
	return 2*heard > info.Config.Replicas
}

// limits are what the stream says of itself that reading has to know.
type limits struct {
	maxPerTopic uint64 // 0: no limit
}

// StreamState asks the stream's leader.
func (c *Conn) StreamState(ctx context.Context) (StreamState, error) {
	info, err := c.streamInfo(ctx)
	if err != nil {
		return StreamState{}, fmt.Errorf("state of stream %s: %w", c.cfg.Stream.Name, err)
	}
	return stateOf(info), nil
}

// EnsureStream creates the stream, or brings it up to date, or with ManageOperator only checks it. The background work of a
// Conn does the same after each connect, until it succeeds. Many processes may do so at once. What nobody configured
// here (compression, placement, sources, …) stays as it is.
//
// A process changes an existing stream once, at its start: two with different configurations do not fight over it.
func (c *Conn) EnsureStream(ctx context.Context) error {
	c.ensure.Lock()
	defer c.ensure.Unlock()
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", c.cfg.Stream.Name, err)
	}
	defer cancel()
	info, err := c.ensureStream(ctx)
	if err != nil {
		err = fmt.Errorf("stream %s: %w", c.cfg.Stream.Name, orCause(ctx, err))
		c.streamFailed(err)
		return err
	}
	c.streamFound(info)
	return nil
}

func (c *Conn) ensureStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	want := c.wantedStream()
	operators := c.cfg.Stream.Manage == ManageOperator
	stream, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && operators {
		return nil, fmt.Errorf("%w, and it is the operator's to create (stream.manage)", ErrNoStream)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := c.letItGo(ctx); err != nil {
			return nil, err
		}
		stream, err = c.createStream(ctx, want)
	}
	if err != nil {
		return nil, apiError(err)
	}
	info := stream.CachedInfo()
	if leaderless(info) {
		return nil, errLeaderless
	}
	if differ := outOfDate(info.Config, want); len(differ) > 0 && !operators && !c.isManaged() {
		if stream, err = c.js.UpdateStream(ctx, merged(info.Config, want)); err != nil {
			return nil, fmt.Errorf("cannot be brought up to date (%v): %w", differ, apiError(err))
		}
		c.log.Info("stream brought up to date", "stream", want.Name, "changed", differ)
		info = stream.CachedInfo()
	}
	if broken := unusable(info.Config, want); len(broken) > 0 {
		return nil, fmt.Errorf("is there, but cannot serve: %w", errors.Join(broken...))
	}
	c.mu.Lock()
	c.stream = stream
	c.managed = true
	c.mu.Unlock()
	return info, nil
}

// letItGo waits before a stream that was deleted is made anew. NATS announces the end of a stream, and knows it no more,
// before it has removed its files: a new one of the same name that is made at that moment loses its own files with them.
func (c *Conn) letItGo(ctx context.Context) error {
	const goneFor = time.Second
	c.mu.Lock()
	if c.lastEpoch != "" && c.goneSince.IsZero() {
		c.goneSince = time.Now()
	}
	wait := goneFor - time.Since(c.goneSince)
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(wait):
		return nil
	}
}

// createStream yields to whoever came first with another configuration.
func (c *Conn) createStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := c.js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return c.js.Stream(ctx, want.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	c.log.Info("stream is there", "stream", want.Name, "storage", want.Storage, "max_age", want.MaxAge,
		"max_per_topic", want.MaxMsgsPerSubject, "max_bytes", want.MaxBytes)
	return stream, nil
}

func (c *Conn) isManaged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.managed
}

// streamInfo asks for the stream, and with a filter for the number of retained messages of each subject that matches.
func (c *Conn) streamInfo(ctx context.Context, options ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	c.mu.Lock()
	stream := c.stream
	c.mu.Unlock()
	if stream == nil {
		c.lookNow()
		return nil, ErrNoStream
	}
	info, err := askStream(ctx, stream, options...)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.lookNow()
		return nil, ErrNoStream
	}
	if err != nil {
		return nil, orCause(ctx, apiError(err))
	}
	if stateOf(info).Epoch != c.State().Epoch {
		c.lookNow()
	}
	return info, nil
}

// streamFound says so when the stream is another one than before.
func (c *Conn) streamFound(info *jetstream.StreamInfo) {
	epoch := stateOf(info).Epoch
	c.mu.Lock()
	c.streamErr = nil
	c.limits = limitsOf(info.Config)
	before := c.lastEpoch
	c.lastEpoch, c.goneSince = epoch, time.Time{}
	c.mu.Unlock()
	if before != "" && before != epoch {
		c.metrics.epochs.Inc()
		c.log.Warn("the stream was made anew: positions of the one before are void", "stream", info.Config.Name,
			"epoch", epoch, "before", before)
	}
	c.setState(func(s *State) { s.Epoch = epoch })
}

func (c *Conn) streamFailed(err error) {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		return // says nothing about the stream
	}
	c.mu.Lock()
	news := c.streamErr == nil || c.streamErr.Error() != err.Error()
	c.streamErr = err
	c.mu.Unlock()
	if news {
		c.log.Error("the stream cannot be used", "error", err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errLeaderless) {
		return // it may be there, and only slow: what was known of it stands
	}
	c.setState(func(s *State) { s.Epoch = "" })
}

// watchStream looks after the stream: after each connect, when NATS announces that streams came or went, when a call
// found it missing, and every lookInterval in case that such an announcement was lost. Where it gets no answer for long, it
// tries another server.
func (c *Conn) watchStream(ctx context.Context) {
	const lookInterval = 5 * time.Second
	advisories := make(chan *nats.Msg, 16)
	sub, err := c.nc.ChanSubscribe("$JS.EVENT.ADVISORY.STREAM.*."+c.cfg.Stream.Name, advisories)
	if err != nil {
		c.log.Warn("cannot hear of streams that come and go, looking every now and then instead", "error", err)
	} else {
		defer func() { _ = sub.Unsubscribe() }() // fails only when the line is closed, and the subscription with it
	}
	pause := time.NewTimer(lookInterval)
	defer pause.Stop()
	const firstRetry = 100 * time.Millisecond
	var lost marooned
	for retry := firstRetry; ; {
		select {
		case <-ctx.Done():
			return
		case <-c.look:
		case <-advisories:
		case <-pause.C:
		}
		next := lookInterval
		err := c.lookAtStream(ctx)
		if err != nil && c.State().Connected {
			next, retry = retry, min(2*retry, lookInterval)
		} else {
			retry = firstRetry
		}
		if lost.look(err, time.Now()) {
			c.leave(err)
		}
		pause.Reset(next)
	}
}

// lookAtStream does as little as shows that the stream is the one we know, and all that is needed when it is not.
func (c *Conn) lookAtStream(ctx context.Context) error {
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	state := c.State()
	c.mu.Lock()
	stream := c.stream
	c.mu.Unlock()
	if stream != nil && state.Epoch != "" {
		info, err := askStream(ctx, stream)
		if err == nil && stateOf(info).Epoch == state.Epoch {
			if broken := unusable(info.Config, c.wantedStream()); len(broken) == 0 {
				c.streamFound(info)
				return nil
			}
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			c.log.Warn("the stream is gone: positions are void", "stream", c.cfg.Stream.Name)
			c.setState(func(s *State) { s.Epoch = "" })
		} else if err != nil {
			return apiError(err)
		}
	}
	return c.EnsureStream(ctx)
}

func (c *Conn) lookNow() {
	select {
	case c.look <- struct{}{}:
	default: // it is about to look anyway
	}
}

func stateOf(info *jetstream.StreamInfo) StreamState {
	return StreamState{
		Epoch:    epochOf(info.Created),
		FirstSeq: info.State.FirstSeq,
		LastSeq:  info.State.LastSeq,
		Messages: info.State.Msgs,
		Bytes:    info.State.Bytes,
	}
}

func limitsOf(cfg jetstream.StreamConfig) limits {
	return limits{maxPerTopic: uint64(max(0, cfg.MaxMsgsPerSubject))}
}

// apiError says in our words what JetStream's own do not make clear.
func apiError(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: NATS runs without JetStream (start it with -js): %w", ErrNoStream, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	}
	return lineError(err)
}

// merged is have with what is ours to say changed to want.
func merged(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	for _, s := range want.Subjects {
		if !slices.Contains(have.Subjects, s) {
			have.Subjects = append(slices.Clone(have.Subjects), s)
		}
	}
	have.Retention, have.Discard, have.Storage = want.Retention, want.Discard, want.Storage
	have.MaxAge, have.MaxMsgsPerSubject, have.MaxBytes = want.MaxAge, want.MaxMsgsPerSubject, want.MaxBytes
	have.Replicas, have.Duplicates = want.Replicas, want.Duplicates
	have.RePublish, have.AllowDirect = want.RePublish, want.AllowDirect
	have.AllowMsgTTL, have.SubjectDeleteMarkerTTL = want.AllowMsgTTL, want.SubjectDeleteMarkerTTL
	have.AllowRollup, have.DenyPurge = want.AllowRollup, want.DenyPurge
	return have
}
