package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/bus"
	"tidings/edge/auth"
)

// Actions says who may have what done to this host's containers. Zero fields mean the default written beside them.
type Actions struct {
	Verbs    []bus.Verb // what is switched on, at least one
	Verifier Verifier   // needed: of the tokens of who asks
	Engine   Engine     // needed

	// AuditFile takes a line of JSON before each action and one after it, synced. It is needed, created if missing, and never cut:
	// rotate it by renaming it, which the next action notices.
	AuditFile string

	AtOnce int // actions that run at once, more wait until their deadline; 4
}

// Verifier tells whose a token is, and what it grants: *auth.Verifier. Its errors are auth.ErrInvalid, ErrExpired and ErrUnavailable.
type Verifier interface {
	Verify(ctx context.Context, token string) (*auth.Session, error)
}

// Engine has containers that actions are done on.
type Engine interface {
	// Find looks a container up by its name or by an id prefix of 12 or more. The error is an *bus.ActionError for whoever asks:
	// not_found, also if several match, or unavailable; or one for the operator alone.
	Find(ctx context.Context, wanted string) (Target, error)
}

// Target is a container as it was when it was found.
type Target struct {
	ID        string // 64 hex digits
	Name      string
	Protected bool          // no action is done on it
	Grace     time.Duration // that it has between being told to stop and being killed

	// Do does it, or finds that there is nothing to do. It acts on ID, whatever bears Name by now. The error is a *bus.ActionError
	// for whoever asked, or one for the operator alone. If ctx ends first, the outcome is unknown.
	Do func(ctx context.Context, verb bus.Verb) (Done, error)
}

// Done is how an action ended well.
type Done struct {
	Changed bool
	State   string // of the container after it; empty: it is no more
}

// Validate names every fault at once, by its key.
func (a Actions) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(a.Verbs) == 0 {
		fault("verbs: there are none, of %v", bus.Verbs)
	}
	for _, verb := range a.Verbs {
		if !slices.Contains(bus.Verbs, verb) {
			fault("verbs: %q is none of %v", verb, bus.Verbs)
		}
	}
	if a.Verifier == nil {
		fault("tokens: are missing, and with them whoever could ask for an action")
	}
	if a.Engine == nil {
		fault("engine: is missing, there are no containers to act on")
	}
	if a.AuditFile == "" {
		fault("audit_file: is missing, no action is done without a record of it")
	}
	if a.AtOnce < 0 {
		fault("at_once: %d is negative", a.AtOnce)
	}
	return errors.Join(faults...)
}

// The outcomes of an action in the audit (PAYLOADS.md): a closed list.
const (
	outcomeOK        = "ok"        // done
	outcomeUnchanged = "unchanged" // there was nothing to do
	outcomeRefused   = "refused"   // not begun
	outcomeFailed    = "failed"    // begun, and the engine said that it failed
	outcomeTimeout   = "timeout"   // begun, and how it ended is not known
)

var outcomes = []string{outcomeOK, outcomeUnchanged, outcomeRefused, outcomeFailed, outcomeTimeout}

// ActionRecord is the payload of container-action: one action that was asked for, and how it ended.
type ActionRecord struct {
	By            string   `json:"by,omitempty"`            // sub of the token; absent: it was not valid, or has none
	Via           string   `json:"via,omitempty"`           // edge
	RemoteAddress string   `json:"remoteAddress,omitempty"` // of the client, as the edge says
	Container     string   `json:"container"`               // name; as it was asked for, if none was found
	ID            string   `json:"id,omitempty"`            // absent: none was found
	Action        bus.Verb `json:"action"`
	Outcome       string   `json:"outcome,omitempty"` // absent only in an intent
	Code          string   `json:"code,omitempty"`    // of PROTOCOL §6, unless ok or unchanged
	Message       string   `json:"message,omitempty"`
	DurationMs    int64    `json:"durationMs"` // from its arrival
}

func refusal(code, format string, args ...any) *bus.ActionError {
	return &bus.ActionError{Code: code, Message: fmt.Sprintf(format, args...)}
}
