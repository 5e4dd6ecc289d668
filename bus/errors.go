package bus

import "errors"

// What can go wrong between us and NATS. Errors of this package wrap one of these where the caller can act on it.
var (
	ErrUnavailable = errors.New("NATS is not reachable")
	ErrNoStream    = errors.New("the stream is not there")
	ErrClosed      = errors.New("the connection is closed")
	ErrConflict    = errors.New("another message was published on the topic first")
	ErrRefused     = errors.New("the stream refused the message") // trying again is of no use
)

// Why a message is not delivered, or not published: the closed list behind the label reason of
// tidings_bus_invalid_messages_total.
var (
	ErrInvalidTopic  = errors.New("subject holds no valid topic")
	ErrInvalidHeader = errors.New("NATS header holds no valid position")
	ErrInvalidUTF8   = errors.New("payload is not valid UTF-8")
	ErrInvalidJSON   = errors.New("payload is not valid JSON")
	ErrTooLarge      = errors.New("payload is too large")
)
