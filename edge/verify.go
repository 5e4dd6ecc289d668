package edge

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"tidings/edge/auth"
)

// desk verifies tokens beside the loops: a signature takes up to a tenth of a millisecond, and keys may have to be fetched first. It has
// no goroutine while there is nothing to verify, and never more than deskMax. Who asks has no more than one token there, so what
// waits is bounded by the connections.
type desk struct {
	// Set before it is asked.
	verifier Verifier
	patience time.Duration // with one token, waiting included
	metrics  *metrics
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc

	workers sync.WaitGroup

	mu      sync.Mutex
	busy    int
	waiting list.List // of *verification
	closed  bool
	told    time.Time // when a refused token was logged
}

// verification is a token at the desk.
type verification struct {
	token string
	since time.Time
	done  func(*auth.Session, error)

	ctx context.Context // of its turn, and of whoever has it

	// Under the desk's lock.
	place  *list.Element      // among those that wait; nil: it is its turn, or was
	cancel context.CancelFunc // ends its turn; nil: it has not come to that
}

// deskMax bounds the tokens that are verified at once. Most of them compute, and so many runnable goroutines keep a loop
// waiting for about a millisecond; the others wait for keys.
const deskMax = 16

// judgement is what became of a token.
type judgement string

const (
	tokenOK          judgement = "ok"          // verified
	tokenMissing     judgement = "missing"     // there was none
	tokenInvalid     judgement = "invalid"     // not ours, not for us, or no token at all
	tokenExpired     judgement = "expired"     // it was valid once
	tokenUnavailable judgement = "unavailable" // it could not be verified: no keys, no time, or nobody there any more
)

var judgements = []judgement{tokenOK, tokenMissing, tokenInvalid, tokenExpired, tokenUnavailable}

func judge(err error) judgement {
	switch {
	case err == nil:
		return tokenOK
	case errors.Is(err, errNoToken), errors.Is(err, errCookieOrigin):
		return tokenMissing
	case errors.Is(err, auth.ErrExpired):
		return tokenExpired
	case errors.Is(err, auth.ErrInvalid):
		return tokenInvalid
	}
	return tokenUnavailable
}

func newDesk(v Verifier, patience time.Duration, m *metrics, log *slog.Logger) *desk {
	d := &desk{verifier: v, patience: patience, metrics: m, log: log}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// verify has a token verified and calls done with what came of it, on a goroutine of the desk's. It never blocks. Whoever does not wait
// for it any more says so by giveUp.
func (d *desk) verify(token string, done func(*auth.Session, error)) *verification {
	v := &verification{token: token, since: time.Now(), done: done}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return v
	}
	v.place = d.waiting.PushBack(v)
	if d.busy < deskMax {
		d.busy++
		d.workers.Go(d.work)
	}
	return v
}

// giveUp ends a verification that nobody waits for any more, or lets go of what is left of one that is over. Who connects and hangs up,
// again and again, is not to have tokens pile up, nor to keep the desk from those of others.
func (d *desk) giveUp(v *verification) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case v.place != nil:
		d.waiting.Remove(v.place)
		v.place = nil
		d.metrics.tokens[tokenUnavailable].Inc()
	case v.cancel != nil:
		v.cancel()
	}
}

// wait is verify for a goroutine that has nothing else to do.
func (d *desk) wait(ctx context.Context, token string) (*auth.Session, error) {
	type answer struct {
		session *auth.Session
		err     error
	}
	answers := make(chan answer, 1)
	v := d.verify(token, func(s *auth.Session, err error) { answers <- answer{s, err} })
	defer d.giveUp(v)
	select {
	case a := <-answers:
		return a.session, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("verify a token: %w", ctx.Err())
	case <-d.ctx.Done():
		return nil, auth.ErrUnavailable
	}
}

// work verifies until nothing waits.
func (d *desk) work() {
	for {
		v, ok := d.next()
		if !ok {
			return
		}
		s, err := d.one(v)
		if errors.Is(v.ctx.Err(), context.Canceled) {
			d.metrics.tokens[tokenUnavailable].Inc()
			continue // given up
		}
		d.judged(err)
		v.done(s, err)
		v.cancel()
		runtime.Gosched() // many tokens come at once when clients do, and the loops have messages to deliver
	}
}

func (d *desk) next() (*verification, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.waiting.Front()
	if first == nil || d.closed {
		d.busy--
		return nil, false
	}
	v := d.waiting.Remove(first).(*verification)
	v.place = nil
	v.ctx, v.cancel = context.WithDeadline(d.ctx, v.since.Add(d.patience))
	return v, true
}

func (d *desk) one(v *verification) (*auth.Session, error) {
	if v.ctx.Err() != nil { // whoever asked has given up
		return nil, auth.ErrUnavailable
	}
	return d.verifier.Verify(v.ctx, v.token)
}

// tellEvery is how often the reason is logged for which a token was refused. Anybody can send bad ones.
const tellEvery = 10 * time.Second

// judged counts what became of a token, and now and then tells the operator why one was refused.
func (d *desk) judged(err error) {
	d.metrics.tokens[judge(err)].Inc()
	if err == nil {
		return
	}
	d.mu.Lock()
	now := time.Now()
	tell := now.Sub(d.told) >= tellEvery
	if tell {
		d.told = now
	}
	d.mu.Unlock()
	if tell {
		d.log.Info("a token was refused", "reason", err, "result", judge(err))
	}
}

// close ends all that is under way, and waits for it. Nothing is verified any more.
func (d *desk) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.workers.Wait()
}
