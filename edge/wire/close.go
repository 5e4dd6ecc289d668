package wire

import "strconv"

// CloseCode is the status of a WebSocket close frame (RFC 6455 §7.4).
type CloseCode uint16

const (
	CloseNormal          CloseCode = 1000 // by choice
	CloseGoingAway       CloseCode = 1001 // by choice: a page was left, a program ended
	CloseProtocolError   CloseCode = 1002 // broke RFC 6455
	CloseUnsupportedData CloseCode = 1003 // a kind of data that we don't take
	CloseInvalidUTF8     CloseCode = 1007 // a text message that is not UTF-8
	CloseTooBig          CloseCode = 1009 // a message above limits.message_bytes
	CloseInternal        CloseCode = 1011 // a fault of the edge
	CloseDraining        CloseCode = 1012 // the edge is being replaced
	CloseTokenExpired    CloseCode = 4401 // the token expired and was not refreshed
	CloseTooSlow         CloseCode = 4408 // took nothing for slow_timeout
	CloseNoPong          CloseCode = 4409 // answered no ping for two heartbeats
	CloseTooManyRequests CloseCode = 4429 // asked too fast
	CloseTokenInvalid    CloseCode = 4501 // the token is not, or no longer, valid
	CloseTooManyBad      CloseCode = 4502 // too many bad requests
)

// CloseCodes lists every code with which an edge closes.
var CloseCodes = []CloseCode{
	CloseNormal, CloseGoingAway, CloseProtocolError, CloseUnsupportedData, CloseInvalidUTF8, CloseTooBig,
	CloseInternal, CloseDraining, CloseTokenExpired, CloseTooSlow, CloseNoPong, CloseTooManyRequests,
	CloseTokenInvalid, CloseTooManyBad,
}

// Reconnect reports whether a client comes back after this code. Codes that the protocol does not
// name are those of proxies and broken lines (1006 above all): it does, unless
// they lie in 4500–4599.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseNormal, CloseGoingAway, CloseProtocolError, CloseUnsupportedData, CloseInvalidUTF8, CloseTooBig:
		return false
	}
	return c < 4500 || c > 4599
}

// String is the code with its meaning in a word or two.
func (c CloseCode) String() string {
	number := strconv.Itoa(int(c))
	switch c {
	case CloseNormal:
		return number + " normal"
	case CloseGoingAway:
		return number + " going away"
	case CloseProtocolError:
		return number + " protocol error"
	case CloseUnsupportedData:
		return number + " unsupported data"
	case CloseInvalidUTF8:
		return number + " invalid utf-8"
	case CloseTooBig:
		return number + " too big"
	case CloseInternal:
		return number + " internal error"
	case CloseDraining:
		return number + " draining"
	case CloseTokenExpired:
		return number + " token expired"
	case CloseTooSlow:
		return number + " too slow"
	case CloseNoPong:
		return number + " no pong"
	case CloseTooManyRequests:
		return number + " too many requests"
	case CloseTokenInvalid:
		return number + " token invalid"
	case CloseTooManyBad:
		return number + " too many bad requests"
	}
	return number
}
