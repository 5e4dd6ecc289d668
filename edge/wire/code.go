package wire

import (
	"net/http"
	"time"
)

// Code says what went wrong, in an error message or in the body of an HTTP
// refusal.
type Code string

const (
	BadRequest      Code = "bad_request"       // the request itself is wrong; repeating it won't help
	Unauthorized    Code = "unauthorized"      // no token, or not a valid one
	Forbidden       Code = "forbidden"         // the token does not grant this
	NotFound        Code = "not_found"         // no such host or container
	Conflict        Code = "conflict"          // another action runs on this container
	Timeout         Code = "timeout"           // the outcome is unknown
	Unavailable     Code = "unavailable"       // not now: full, draining, or NATS is away
	LimitExceeded   Code = "limit_exceeded"    // more than this connection may hold
	TooManyRequests Code = "too_many_requests" // too fast; see retry_after_ms
	TokenExpired    Code = "token_expired"     // the token's exp has passed
	Protected       Code = "protected"         // this container is not to be acted upon
	Disabled        Code = "disabled"          // the operator has not switched this on
	HostOffline     Code = "host_offline"      // nobody answers for this host
	Internal        Code = "internal"          // a fault of ours
)

// Codes lists every code of an error message.
var Codes = []Code{
	BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Timeout, Unavailable, LimitExceeded,
	TooManyRequests, TokenExpired, Protected, Disabled, HostOffline, Internal,
}

// Codes that occur only where an upgrade is refused.
const (
	ForbiddenOrigin Code = "forbidden_origin" // a page of this origin may not connect
	UpgradeRequired Code = "upgrade_required" // not a WebSocket handshake
)

// RefusalCodes lists every code of an HTTP refusal.
var RefusalCodes = []Code{BadRequest, Unauthorized, ForbiddenOrigin, UpgradeRequired, TooManyRequests, Unavailable}

// Status is the HTTP status that goes with a refusal of this code, or with an answer to
// an HTTP request for topics; 500 for a code that occurs in neither.
func (c Code) Status() int {
	switch c {
	case BadRequest:
		return http.StatusBadRequest
	case Unauthorized:
		return http.StatusUnauthorized
	case Forbidden, ForbiddenOrigin:
		return http.StatusForbidden
	case UpgradeRequired:
		return http.StatusUpgradeRequired
	case TooManyRequests:
		return http.StatusTooManyRequests
	case Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Error is what a client is told about a request that failed. Message is for
// people: it says what to do next and holds nothing internal.
type Error struct {
	Code       Code
	Topic      string // the pattern that it is about; empty: none in particular
	Message    string
	RetryAfter time.Duration // 0: not said
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }
