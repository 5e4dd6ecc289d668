package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"tidings/edge/wire"
)

// ClosedError tells that the edge closed the connection, and with what.
type ClosedError struct {
	Code   wire.CloseCode
	Reason string
}

func (e *ClosedError) Error() string {
	if e.Reason == "" {
		return "the edge closed the connection: " + e.Code.String()
	}
	return "the edge closed the connection: " + e.Code.String() + ": " + e.Reason
}

// RefusedError tells that the edge, or something before it, did not upgrade the connection.
type RefusedError struct {
	Status     int           // of HTTP
	Code       wire.Code     // empty: the answer was not an edge's
	Message    string        // what the edge says to do next
	RetryAfter time.Duration // 0: not said
}

func (e *RefusedError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("refused with %d %s, not by an edge", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("refused with %d %s: %s", e.Status, e.Code, e.Message)
}

var (
	errSilent     = errors.New("heard nothing for two heartbeats")
	errNotText    = errors.New("the edge sent a binary message")
	errNoGreeting = errors.New("the first message is not `connected`")
)

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = time.Hour

// refused reads the HTTP answer of a handshake that failed.
func refused(resp *http.Response) *RefusedError {
	e := &RefusedError{Status: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	var said struct {
		Code    wire.Code `json:"code"`
		Message string    `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && slices.Contains(wire.RefusalCodes, said.Code) {
		e.Code, e.Message = said.Code, said.Message
	}
	after := resp.Header.Get("Retry-After") // RFC 9110 §10.2.3: seconds, or a date
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	} else if at, err := http.ParseTime(after); err == nil {
		e.RetryAfter = min(max(time.Until(at), 0), maxRetryAfter)
	}
	return e
}

// staysAway reports whether err means that there is no use in coming back.
// Before the first connection that includes every answer that reads as a
// wrong address; later on such an answer is that of a load balancer in trouble.
func staysAway(err error, connectedBefore bool) bool {
	var closed *ClosedError
	if errors.As(err, &closed) {
		return !closed.Code.Reconnect()
	}
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case wire.BadRequest, wire.Unauthorized, wire.ForbiddenOrigin, wire.UpgradeRequired:
		return true
	}
	switch refused.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return !connectedBefore && refused.Status < 500
}

// later is how long err asks to wait at least.
func later(err error) time.Duration {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.RetryAfter
	}
	var closed *ClosedError
	if errors.As(err, &closed) && closed.Code == wire.CloseTooManyRequests {
		return 5 * time.Second
	}
	return 0
}

// closing turns the error of a read into a ClosedError if it was a close frame.
func closing(err error) error {
	var frame websocket.CloseError
	if errors.As(err, &frame) {
		return &ClosedError{Code: wire.CloseCode(frame.Code), Reason: frame.Reason}
	}
	return err
}
