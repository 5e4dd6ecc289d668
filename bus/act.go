package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	// answerSlack is what an answer may take to arrive beyond the time after which the publisher itself would say "timeout".
	answerSlack = 2 * time.Second

	headerProgress = "Tidings-Progress" // in an answer that is not the last one
	progressBegun  = "begun"            // the action has begun; the payload says how long it may take
)

// progress is the payload of an answer with progressBegun.
type progress struct {
	WithinMS int64 `json:"within_ms"`
}

// Act asks the publisher of a.Host for an action, once, and waits for how it ended. The error is an *ActionError, whose code is
// unavailable if NATS is away (it was not sent, and will not be later), host_offline if nobody answers for the host, timeout if the
// outcome is unknown, or what the publisher said. Once it was sent, an outage of NATS does not end the waiting: if NATS is back in
// time, so is the answer. The end of ctx does.
func (c *Conn) Act(ctx context.Context, a Action) (ActionResult, error) {
	result, err := c.act(ctx, a)
	if err == nil {
		c.metrics.asked[outcomeOK].Inc()
		return result, nil
	}
	refusal, ok := errors.AsType[*ActionError](err)
	if !ok {
		c.log.Error("action could not be asked for", "host", a.Host, "error", err)
		refusal = actionRefusal(CodeInternal, "the action could not be asked for; the edge's log says why")
	}
	c.metrics.asked[refusal.Code].Inc()
	return ActionResult{}, refusal
}

func (c *Conn) act(ctx context.Context, a Action) (ActionResult, error) {
	if refusal := a.check(); refusal != nil {
		return ActionResult{}, refusal
	}
	now := time.Now()
	if a.Deadline.IsZero() {
		a.Deadline = now.Add(beginWithin)
		if a.Timeout > 0 {
			a.Deadline = now.Add(a.Timeout)
		}
	}
	if ctx.Err() != nil || a.Late() {
		return ActionResult{}, actionRefusal(CodeUnavailable, "the time to begin had passed, so the action was not sent; ask again")
	}
	if _, err := c.isUp(); err != nil {
		return ActionResult{}, errNotSent
	}
	payload, err := a.encode(now)
	if err != nil {
		return ActionResult{}, fmt.Errorf("write the action: %w", err)
	}
	answers, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return ActionResult{}, errNotSent
	}
	defer func() { _ = answers.Unsubscribe() }() // fails only when the line is closed, and the subscription with it
	if err := c.nc.PublishRequest(c.subjects.act+a.Host, answers.Subject, payload); err != nil {
		return ActionResult{}, c.sendError(err)
	}
	return c.awaitAnswer(ctx, a, now, answers)
}

var errNotSent = &ActionError{Code: CodeUnavailable, Message: "the edge has lost NATS, so the action was not sent, nor will it be; ask again later"}

func (c *Conn) sendError(err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return actionRefusal(CodeBadRequest, "the action with its token is larger than NATS takes")
	case errors.Is(lineError(err), ErrUnavailable):
		return errNotSent
	}
	return fmt.Errorf("send the action: %w", err)
}

// awaitAnswer waits for the last answer: as long as the client wants, or else as long as the publisher says that it takes; until
// the publisher says so, as long as the action may begin.
func (c *Conn) awaitAnswer(ctx context.Context, a Action, sent time.Time, answers *nats.Subscription) (ActionResult, error) {
	limit := a.Deadline
	if a.Timeout > 0 {
		limit = sent.Add(a.Timeout)
	}
	for {
		waiting, cancel := context.WithDeadline(ctx, limit.Add(answerSlack))
		m, err := answers.NextMsgWithContext(waiting)
		cancel()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return ActionResult{}, actionRefusal(CodeHostOffline, "no publisher answers actions for host %s: it is offline, or its operator has not switched actions on", a.Host)
		case err != nil:
			return ActionResult{}, actionRefusal(CodeTimeout, "no answer came from host %s in time, so the outcome is unknown: the container's events tell. It was not tried again", a.Host)
		case m.Header.Get(headerProgress) != "":
			var p progress
			if json.Unmarshal(m.Data, &p) == nil && a.Timeout == 0 && m.Header.Get(headerProgress) == progressBegun {
				limit = time.Now().Add(min(span(p.WithinMS), maxActionTimeout))
			}
		default:
			return readAnswer(m)
		}
	}
}

// readAnswer reads how a publisher says that an action ended.
func readAnswer(m *nats.Msg) (ActionResult, error) {
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		if !slices.Contains(ActionCodes, code) {
			return ActionResult{}, fmt.Errorf("the publisher refused with a code that is not known: %q", clip(code))
		}
		return ActionResult{}, &ActionError{Code: code, Message: m.Header.Get(micro.ErrorHeader)}
	}
	var result ActionResult
	if err := json.Unmarshal(m.Data, &result); err != nil {
		return ActionResult{}, fmt.Errorf("the publisher's answer cannot be read: %w", err)
	}
	return result, nil
}
