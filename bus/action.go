package bus

import "time"

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

// Action is one thing that a client wants done to a container, as an edge passes it to the host's publisher.
type Action struct {
	Key       string        `json:"key"`       // the same key runs once: made by the edge of the connection and the request's id
	Host      string        `json:"host"`      // token
	Container string        `json:"container"` // a name, or an id prefix of 12 or more
	Verb      Verb          `json:"action"`
	Timeout   time.Duration `json:"-"`     // 0: the container's stop grace and 15 s more
	Deadline  time.Time     `json:"-"`     // never begun after it
	Token     string        `json:"token"` // of who asks; the publisher verifies it itself
	Edge      string        `json:"edge"`  // the node that asks
}

// ActionResult is how an action ended well.
type ActionResult struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ID        string `json:"id"`
	Action    Verb   `json:"action"`
	Changed   bool   `json:"changed"` // false: there was nothing to do
	State     string `json:"state"`   // of the container, after it
}

// ActionError is how an action ended otherwise; Code is one of PROTOCOL §6.
type ActionError struct {
	Code    string `json:"code"`
	Message string `json:"message"` // for people: what to do next, nothing internal
}

func (e *ActionError) Error() string { return e.Code + ": " + e.Message }
