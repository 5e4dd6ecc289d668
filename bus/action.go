package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verb is what an action does to a container (PROTOCOL §6).
type Verb string

// The verbs.
const (
	Start   Verb = "start"
	Stop    Verb = "stop"
	Restart Verb = "restart"
	Pause   Verb = "pause"
	Unpause Verb = "unpause"
	Kill    Verb = "kill"
	Remove  Verb = "remove"
)

// Verbs lists every verb.
var Verbs = []Verb{Start, Stop, Restart, Pause, Unpause, Kill, Remove}

// Action is one thing that a client wants done to a container, as an edge passes it to the host's publisher.
type Action struct {
	Key           string // the same key runs once: made by the edge of the connection and the request's id; at most 128 bytes
	Host          string // token
	Container     string // a name, or an id prefix of 12 or more; at most 255 bytes
	Verb          Verb
	Timeout       time.Duration // for all of it, from when it is asked for; 0: the container's stop grace and 15 s more
	Deadline      time.Time     // never begun after it; zero: after Timeout, or 15 s
	Token         string        // of who asks; the publisher verifies it itself
	Edge          string        // the node that asks
	RemoteAddress string        // of the client, as the edge has it
	Refused       string        // code for which the edge has refused it: it is not to be done, only recorded; empty: it has not

	takesUpTo func(time.Duration) // tells the asker; nil at the asker
}

// Late tells whether it is too late to begin: by the clock that goes on steadily, or by the one on the wall, which alone goes on
// while a machine sleeps.
func (a Action) Late() bool {
	now := time.Now()
	return now.After(a.Deadline) || now.Round(0).After(a.Deadline.Round(0))
}

// TakesUpTo tells the asker, who set no Timeout, how long it has to wait from now on. A handler says so once it has found out.
func (a Action) TakesUpTo(d time.Duration) {
	if a.takesUpTo != nil && a.Timeout == 0 {
		a.takesUpTo(d)
	}
}

// ActionResult is how an action ended well.
type ActionResult struct {
	Host      string `json:"host"`
	Container string `json:"container"` // its name
	ID        string `json:"id"`        // 64 hex digits
	Action    Verb   `json:"action"`
	Changed   bool   `json:"changed"` // false: there was nothing to do
	State     string `json:"state"`   // of the container, after it; empty: it is no more
}

// The codes of an ActionError: those of PROTOCOL §6.
const (
	CodeBadRequest      = "bad_request"       // the request itself is wrong; repeating it won't help
	CodeUnauthorized    = "unauthorized"      // no token, or not a valid one
	CodeForbidden       = "forbidden"         // the token does not grant this
	CodeNotFound        = "not_found"         // no such container
	CodeConflict        = "conflict"          // another action runs on this container, or its state does not allow this one
	CodeTimeout         = "timeout"           // the outcome is unknown
	CodeUnavailable     = "unavailable"       // not now; nothing was done
	CodeLimitExceeded   = "limit_exceeded"    // more than one may have
	CodeTooManyRequests = "too_many_requests" // too many at once; nothing was done
	CodeTokenExpired    = "token_expired"     // the token's exp has passed
	CodeProtected       = "protected"         // this container is not to be acted upon
	CodeDisabled        = "disabled"          // the operator has not switched this on
	CodeHostOffline     = "host_offline"      // no publisher answers actions for this host
	CodeInternal        = "internal"          // a fault of ours
)

// ActionCodes lists every code.
var ActionCodes = []string{
	CodeBadRequest, CodeUnauthorized, CodeForbidden, CodeNotFound, CodeConflict, CodeTimeout, CodeUnavailable, CodeLimitExceeded,
	CodeTooManyRequests, CodeTokenExpired, CodeProtected, CodeDisabled, CodeHostOffline, CodeInternal,
}

// ActionError is how an action ended otherwise; Code is one of ActionCodes.
type ActionError struct {
	Code    string
	Message string // for people: what to do next, nothing internal
}

func (e *ActionError) Error() string { return e.Code + ": " + e.Message }

// actionRefusal is an ActionError with a formatted message.
func actionRefusal(code, format string, args ...any) *ActionError {
	return &ActionError{Code: code, Message: fmt.Sprintf(format, args...)}
}

const (
	maxActionKey       = 128
	maxActionContainer = 255
	maxActionTimeout   = time.Hour
	beginWithin        = 15 * time.Second // for an action of which neither a deadline nor a timeout is given

	// clockTolerance is by how much the clocks of two machines may differ, or how long a request may be on its way, without
	// being noticed.
	clockTolerance = 5 * time.Second
)

// check names what is wrong with an action, in words for its client.
func (a Action) check() *ActionError {
	switch {
	case a.Key == "" || len(a.Key) > maxActionKey:
		return actionRefusal(CodeBadRequest, "the action's key must have 1 to %d bytes", maxActionKey)
	case !isToken(a.Host):
		return actionRefusal(CodeBadRequest, "host is no host token: write the token of its topics, such as web-1")
	case !IsContainer(a.Container):
		return actionRefusal(CodeBadRequest, "container is neither a name nor the beginning of an id: write letters, digits and _ . - after the first, at most %d", maxActionContainer)
	case !slices.Contains(Verbs, a.Verb):
		return actionRefusal(CodeBadRequest, "action is none of %v", Verbs)
	case a.Timeout < 0 || a.Timeout > maxActionTimeout:
		return actionRefusal(CodeBadRequest, "the action's timeout must be 0 to %v", maxActionTimeout)
	case a.Refused != "" && !slices.Contains(ActionCodes, a.Refused):
		return actionRefusal(CodeBadRequest, "the action was refused with a code that is not known")
	}
	return nil
}

// IsContainer tells whether s may be a container's name, or the beginning of its id: a letter or digit and then letters, digits, _ . and
// -, which is what engines take for names. So it can be no path, no option, and no word of NATS.
func IsContainer(s string) bool {
	if s == "" || len(s) > maxActionContainer || strings.IndexByte("_.-", s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		if s[i] != '.' && !isTokenByte(s[i]) {
			return false
		}
	}
	return true
}

// actionOnWire is an Action as NATS carries it. No clock is trusted alone: what is left is said as a span, which counts from the
// arrival; and when it was sent, so that a request that was held up somewhere on its way is known as such.
type actionOnWire struct {
	Key           string `json:"key"`
	Host          string `json:"host"`
	Container     string `json:"container"`
	Verb          Verb   `json:"action"`
	TimeoutMS     int64  `json:"timeout_ms,omitempty"`
	BeginWithinMS int64  `json:"begin_within_ms"`
	SentAt        int64  `json:"sent_at"` // by the edge's clock, Unix milliseconds
	Token         string `json:"token"`
	Edge          string `json:"edge"`
	RemoteAddress string `json:"remote_address,omitempty"`
	Refused       string `json:"refused,omitempty"`
}

// encode is the action as it is sent at now.
func (a Action) encode(now time.Time) ([]byte, error) {
	return json.Marshal(actionOnWire{
		Key: a.Key, Host: a.Host, Container: a.Container, Verb: a.Verb, Token: a.Token, Edge: a.Edge, RemoteAddress: a.RemoteAddress,
		Refused: a.Refused, TimeoutMS: a.Timeout.Milliseconds(), BeginWithinMS: a.Deadline.Sub(now).Milliseconds(), SentAt: now.UnixMilli(),
	})
}

// decodeAction reads an action that arrived at now. Its Deadline counts by the clocks of this machine: what was left when it was
// sent, less the time that it has been on its way, as far as the two machines' clocks show one beyond clockTolerance.
func decodeAction(data []byte, now time.Time) (Action, error) {
	var w actionOnWire
	if err := json.Unmarshal(data, &w); err != nil {
		return Action{}, err
	}
	left := span(w.BeginWithinMS)
	if underway := span(now.UnixMilli() - w.SentAt); underway > clockTolerance {
		left -= underway
	}
	return Action{
		Key: w.Key, Host: w.Host, Container: w.Container, Verb: w.Verb, Token: w.Token, Edge: w.Edge, RemoteAddress: w.RemoteAddress,
		Refused:  w.Refused,
		Timeout:  span(w.TimeoutMS),
		Deadline: now.Add(left),
	}, nil
}

// span is a stranger's number of milliseconds, bounded so that it can be reckoned with, but not to what check takes.
func span(ms int64) time.Duration {
	const most = 2 * maxActionTimeout
	return time.Duration(max(-most.Milliseconds(), min(ms, most.Milliseconds()))) * time.Millisecond
}

// isToken tells whether s is one token of a topic.
func isToken(s string) bool {
	if s == "" || len(s) > MaxTopicBytes {
		return false
	}
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return true
}
