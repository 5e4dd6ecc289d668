package auth

import "errors"

// The errors of a verification, as errors.Is tells them. What wraps them says the cause to the operator, and never holds a part of
// the token.
var (
	ErrInvalid     = errors.New("the token is not valid") // not signed by a key of ours, not for us, or no token at all
	ErrExpired     = errors.New("the token has expired")  // genuine, but its exp has passed
	ErrUnavailable = errors.New("no keys to verify with") // they could not be had yet; the same token may do later
)
