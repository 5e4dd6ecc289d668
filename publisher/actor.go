package publisher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
)

const (
	// defaultSpan is what an action may take beyond the container's stop grace, unless its client says otherwise.
	defaultSpan = 15 * time.Second
	// overtime is for how long an engine is still waited for after the action's client was told that the outcome is unknown.
	// Meanwhile no other action is done on the container.
	overtime = time.Minute
	// lookup bounds finding out about a token and a container.
	lookup = 10 * time.Second
)

// actor does the actions that are asked for on this host. See doc.go.
type actor struct {
	Actions
	host    string // token
	publish func(ActionRecord)
	ledger  *ledger
	logger  *slog.Logger
	metrics *actionMetrics
	memory  *memory
	slots   chan struct{} // one for each action that runs

	mu   sync.Mutex
	busy map[string]bool // container ids on which an action runs

	late sync.WaitGroup // engines' calls that their clients no longer wait for
}

// newActor opens the audit file, and reports what its last owner had begun and not seen the end of.
func newActor(a Actions, host string, publish func(ActionRecord), logger *slog.Logger, m *actionMetrics) (*actor, error) {
	if a.AtOnce == 0 {
		a.AtOnce = 4
	}
	l, entries, err := openLedger(a.AuditFile, host)
	if err != nil {
		return nil, err
	}
	w := &actor{
		Actions: a, host: host, publish: publish, ledger: l, logger: logger, metrics: m,
		memory: newMemory(), slots: make(chan struct{}, a.AtOnce), busy: make(map[string]bool),
	}
	if err := w.recall(entries); err != nil {
		l.close()
		return nil, err
	}
	return w, nil
}

// handle is a bus.ActionHandler: the whole of an action.
func (w *actor) handle(ctx context.Context, a bus.Action) (result bus.ActionResult, err error) {
	job := &job{actor: w, action: a, arrived: time.Now(), record: ActionRecord{
		Via: a.Edge, RemoteAddress: a.RemoteAddress, Container: a.Container, Action: a.Verb,
	}}
	session, refused := w.verify(ctx, a.Token)
	if refused != nil {
		return bus.ActionResult{}, job.refuse(refused)
	}
	job.session, job.record.By = session, session.Subject
	if a.Refused != "" {
		return bus.ActionResult{}, job.refuse(refusal(a.Refused, "the edge refused it"))
	}
	e, first := w.memory.begin(asking{session.Subject, a.Key}, a.Container, a.Verb, job.arrived)
	if !first {
		w.metrics.repeated.Inc()
		return w.repeat(ctx, e, a)
	}
	result, refused = job.run(ctx)
	e.end(result, refused)
	return e.outcome()
}

// verify says who asks. What an edge that was taken over says of it counts for nothing.
func (w *actor) verify(ctx context.Context, token string) (*auth.Session, *bus.ActionError) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	session, err := w.Verifier.Verify(ctx, token)
	switch {
	case err == nil && !session.Expires.IsZero() && time.Now().Round(0).After(session.Expires):
		return nil, refusal(bus.CodeTokenExpired, "the token has expired: fetch a new one, and ask again")
	case err == nil:
		return session, nil
	case errors.Is(err, auth.ErrExpired):
		return nil, refusal(bus.CodeTokenExpired, "the token has expired: fetch a new one, and ask again")
	case errors.Is(err, auth.ErrUnavailable):
		w.logger.Warn("tokens cannot be verified", "error", err)
		return nil, refusal(bus.CodeUnavailable, "the host's publisher cannot verify tokens at the moment; nothing was done, ask again later")
	}
	w.logger.Warn("a token that an edge took is not valid here: are both configured with the same keys?", "error", err)
	return nil, refusal(bus.CodeUnauthorized, "the host's publisher does not take the token for valid: fetch a new one")
}

// repeat is the answer to a request that came before.
func (w *actor) repeat(ctx context.Context, e *ending, a bus.Action) (bus.ActionResult, error) {
	if e.asked != a.Container || e.verb != a.Verb {
		return bus.ActionResult{}, refusal(bus.CodeBadRequest, "the same request asked for another action before: use an id of its own for each")
	}
	select {
	case <-e.known:
		return e.outcome()
	case <-ctx.Done():
		return bus.ActionResult{}, errStopping
	}
}

var errStopping = refusal(bus.CodeTimeout, "the host's publisher stops before the action has ended, so its outcome is unknown: the container's events tell")

// job is one action from its arrival to its end. It is owned by the handler's goroutine.
type job struct {
	*actor
	action  bus.Action
	arrived time.Time
	session *auth.Session
	record  ActionRecord // as far as it is known
	entry   string       // of the audit file; empty: no intent was written
}

// run finds out whether the action may be done, and does it.
func (j *job) run(ctx context.Context) (bus.ActionResult, *bus.ActionError) {
	if !slices.Contains(j.Verbs, j.action.Verb) {
		return bus.ActionResult{}, j.refuse(refusal(bus.CodeDisabled, "%s is not switched on for this host; its operator's configuration says what is", j.action.Verb))
	}
	if refused := j.queue(ctx); refused != nil {
		return bus.ActionResult{}, j.refuse(refused)
	}
	target, refused := j.find(ctx)
	if refused == nil {
		refused = j.claim(target.ID)
	}
	if refused != nil {
		<-j.slots
		return bus.ActionResult{}, j.refuse(refused)
	}
	if refused := j.intend(); refused != nil {
		j.release(target.ID)
		return bus.ActionResult{}, j.refuse(refused)
	}
	return j.do(ctx, target)
}

// queue waits for a slot, for no longer than the action may begin.
func (j *job) queue(ctx context.Context) *bus.ActionError {
	waiting, cancel := context.WithDeadline(ctx, j.action.Deadline)
	defer cancel()
	select {
	case j.slots <- struct{}{}:
		return nil
	case <-waiting.Done():
	}
	if ctx.Err() != nil {
		return refusal(bus.CodeUnavailable, "the host's publisher is stopping, and has not begun the action; ask again later")
	}
	return errLate
}

var errLate = refusal(bus.CodeUnavailable, "the action could not begin in time, and was not begun: the host was busy, the request was held up, or the clocks of edge and host disagree; ask again")

// find looks for the container, and at whether this token may do this to it. Whoever may do nothing to a container of that name
// isn't told that there is none.
func (j *job) find(ctx context.Context) (Target, *bus.ActionError) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	target, err := guard(func() (Target, error) { return j.Engine.Find(ctx, j.action.Container) })
	name := target.Name
	if err != nil {
		name = j.action.Container
	} else {
		j.record.Container, j.record.ID = target.Name, target.ID
	}
	switch granted := j.session.MayAct(j.host, name, j.action.Verb); {
	case !granted:
		return target, refusal(bus.CodeForbidden, "the token does not grant %s on this container", j.action.Verb)
	case err != nil:
		if refused, ok := errors.AsType[*bus.ActionError](err); ok {
			return target, refused
		}
		j.logger.Error("a container could not be looked for", "error", err)
		return target, refusal(bus.CodeUnavailable, "the host's container engine does not answer; nothing was done, ask again later")
	case target.Protected:
		return target, refusal(bus.CodeProtected, "this container is protected: no action is done on it from here")
	}
	return target, nil
}

// claim makes sure that one action at a time is done on a container.
func (j *job) claim(id string) *bus.ActionError {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.busy[id] {
		return refusal(bus.CodeConflict, "another action runs on this container; wait until it has ended")
	}
	j.busy[id] = true
	return nil
}

// release ends what queue and claim have begun.
func (w *actor) release(id string) {
	w.mu.Lock()
	delete(w.busy, id)
	w.mu.Unlock()
	<-w.slots
}

// intend writes down what is about to be done. The last look at the time comes after it, for a disk may be slow.
func (j *job) intend() *bus.ActionError {
	if j.action.Late() {
		return errLate
	}
	entry := rand.Text()
	if err := j.write(phaseIntent, entry); err != nil {
		return refusal(bus.CodeUnavailable, "the host cannot keep its record of actions, and does none without; tell its operator")
	}
	j.entry = entry
	if j.action.Late() {
		return errLate
	}
	return nil
}

// do has the engine do it, and waits for as long as the client does.
func (j *job) do(ctx context.Context, target Target) (bus.ActionResult, *bus.ActionError) {
	span := target.Grace + defaultSpan
	if j.action.Timeout > 0 {
		span = j.action.Timeout - time.Since(j.arrived)
	}
	j.action.TakesUpTo(span)
	patience := time.NewTimer(span)
	defer patience.Stop()

	type end struct {
		done Done
		err  error
	}
	ended := make(chan end, 1)
	acting, cancel := context.WithTimeout(ctx, span+target.Grace+overtime)
	j.late.Go(func() {
		defer cancel()
		done, err := guard(func() (Done, error) { return target.Do(acting, j.action.Verb) })
		j.release(target.ID) // before its client hears of it, and asks for the next
		ended <- end{done, err}
	})
	select {
	case e := <-ended:
		switch {
		case errors.Is(e.err, context.Canceled):
			return bus.ActionResult{}, j.end(outcomeTimeout, errStopping)
		case e.err != nil:
			return bus.ActionResult{}, j.fail(e.err)
		}
		return j.succeed(target, e.done), nil
	case <-patience.C:
		return bus.ActionResult{}, j.end(outcomeTimeout, refusal(bus.CodeTimeout,
			"the action has not ended in time, so its outcome is unknown: it may still go on, and the container's events tell"))
	case <-ctx.Done():
		return bus.ActionResult{}, j.end(outcomeTimeout, errStopping)
	}
}

// guard turns an engine's panic into an error.
func guard[T any](f func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked{value: p, stack: debug.Stack()}
		}
	}()
	return f()
}

func (j *job) succeed(target Target, done Done) bus.ActionResult {
	outcome := outcomeOK
	if !done.Changed {
		outcome = outcomeUnchanged
	}
	_ = j.end(outcome, nil)
	return bus.ActionResult{
		Host: j.host, Container: target.Name, ID: target.ID, Action: j.action.Verb, Changed: done.Changed, State: done.State,
	}
}

// fail ends an action that the engine did not do.
func (j *job) fail(err error) *bus.ActionError {
	refused, ok := errors.AsType[*bus.ActionError](err)
	if !ok {
		fields := []any{"action", j.action.Verb, "container", j.record.Container, "error", err}
		if p, ok := errors.AsType[panicked](err); ok {
			fields = append(fields, "stack", string(p.stack))
		}
		j.logger.Error("an action failed", fields...)
		refused = refusal(bus.CodeInternal, "the host's container engine could not do it; the publisher's log says why, and the container's events what came of it")
	}
	if refused.Code == bus.CodeTimeout {
		return j.end(outcomeTimeout, refused)
	}
	return j.end(outcomeFailed, refused)
}

func (j *job) refuse(refused *bus.ActionError) *bus.ActionError {
	return j.end(outcomeRefused, refused)
}

// end tells of the action what there is to tell, once, and returns what its client is told.
func (j *job) end(outcome string, refused *bus.ActionError) *bus.ActionError {
	j.record.Outcome = outcome
	j.record.DurationMs = time.Since(j.arrived).Milliseconds()
	if refused != nil {
		j.record.Code, j.record.Message = refused.Code, refused.Message
	}
	j.metrics.ended[j.action.Verb][outcome].Inc()
	j.metrics.duration.Observe(time.Since(j.arrived).Seconds())
	entry := j.entry
	if entry == "" {
		entry = rand.Text()
	}
	_ = j.write(phaseOutcome, entry) // it is logged and counted; the topic tells, and the next start finds the intent
	j.publish(j.record)
	return refused
}

// write appends to the audit file.
func (j *job) write(phase, id string) error {
	err := j.ledger.write(entry{
		Time: time.Now().UTC(), Phase: phase, Entry: id, Host: j.host, Key: j.action.Key, Asked: j.action.Container, ActionRecord: j.record,
	})
	if err != nil {
		j.metrics.unrecorded.Inc()
		j.logger.Error("an action could not be recorded", "phase", phase, "error", err)
	}
	return err
}

// recall takes from the audit file how actions of late ended, so that none of them is done again, and ends those that were begun
// by a publisher that did not live to see their end: nobody knows how they ended.
func (w *actor) recall(entries []entry) error {
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !slices.Contains(bus.Verbs, e.Action) }) // of another release
	open := make(map[string]entry)
	for _, e := range entries {
		if e.Phase == phaseIntent {
			open[e.Entry] = e
			continue
		}
		delete(open, e.Entry)
		w.remember(e)
	}
	for _, e := range entries {
		if _, is := open[e.Entry]; !is {
			continue
		}
		e.Phase, e.Outcome, e.DurationMs = phaseOutcome, outcomeTimeout, time.Since(e.Time).Milliseconds()
		e.Code, e.Message, e.Time = bus.CodeTimeout, "the host's publisher ended while the action ran, so its outcome is unknown: the container's events tell", time.Now().UTC()
		if err := w.ledger.write(e); err != nil {
			return fmt.Errorf("report an action whose end was not seen: %w", err)
		}
		w.logger.Warn("the publisher before this one ended while an action ran; its outcome is unknown", "action", e.Action, "container", e.Container, "by", e.By)
		w.metrics.ended[e.Action][outcomeTimeout].Inc()
		w.publish(e.ActionRecord)
		w.remember(e)
	}
	return nil
}

// remember puts an ended action of the file into the memory.
func (w *actor) remember(e entry) {
	if e.Code == bus.CodeUnauthorized || e.Code == bus.CodeTokenExpired || time.Since(e.Time) > memoryAge {
		return // nobody was known to have asked, or nobody asks again
	}
	past, first := w.memory.begin(asking{e.By, e.Key}, e.Asked, e.Action, e.Time)
	if !first {
		return
	}
	result, refused := bus.ActionResult{}, (*bus.ActionError)(nil)
	if e.Code != "" {
		refused = refusal(e.Code, "%s", e.Message)
	} else {
		// What state it is in by now the containers' list tells better.
		result = bus.ActionResult{Host: w.host, Container: e.Container, ID: e.ID, Action: e.Action, Changed: e.Outcome == outcomeOK}
	}
	past.end(result, refused)
}

// close waits for the engine's calls, which the end of the handlers' context has ended, and closes the file.
func (w *actor) close() {
	w.late.Wait()
	w.ledger.close()
}
