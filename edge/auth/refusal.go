package auth

import (
	"fmt"
	"strings"
	"unicode"
)

// reason is why a token was refused: the label of a metric.
type reason string

const (
	reasonTooLarge    reason = "too_large"     // more bytes than tokens may have
	reasonMalformed   reason = "malformed"     // no JWT
	reasonAlgorithm   reason = "algorithm"     // an alg that is not allowed, or that no key is for
	reasonUnknownKey  reason = "unknown_key"   // a kid, or an issuer, that no key is of
	reasonSignature   reason = "signature"     // made with another key, or changed since
	reasonIssuer      reason = "issuer"        // of somebody who is not ours
	reasonAudience    reason = "audience"      // for somebody else
	reasonExpired     reason = "expired"       // exp has passed
	reasonNotYet      reason = "not_yet_valid" // nbf or iat has not come
	reasonClaims      reason = "claims"        // one is missing, or not what it has to be
	reasonGrants      reason = "grants"        // a pattern that is none, or too many
	reasonUnavailable reason = "unavailable"   // the keys of its issuer cannot be had
)

var reasons = []reason{reasonTooLarge, reasonMalformed, reasonAlgorithm, reasonUnknownKey, reasonSignature, reasonIssuer,
	reasonAudience, reasonExpired, reasonNotYet, reasonClaims, reasonGrants, reasonUnavailable}

// refusal is the error of a token that was refused. Its text is for the operator, and holds nothing of the token but alg, kid
// and iss, made harmless.
type refusal struct {
	reason reason
	detail string
}

func refusef(why reason, format string, args ...any) error {
	return &refusal{reason: why, detail: fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.Unwrap().Error() + ": " + r.detail }

func (r *refusal) Unwrap() error {
	switch r.reason {
	case reasonExpired:
		return ErrExpired
	case reasonUnavailable:
		return ErrUnavailable
	}
	return ErrInvalid
}

// clip makes what a stranger wrote fit for a log: short, and without anything that is not printed.
func clip(s string) string {
	const most = 64
	cut := false
	if len(s) > most {
		s, cut = s[:most], true
	}
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}
