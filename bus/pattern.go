package bus

import (
	"fmt"
	"strings"
)

// Pattern names a set of topics: "*" stands for one token, a last ">" for one or more. A Pattern that came from
// ParsePattern or of a Topic is valid; one converted from a string by hand is a bug.
type Pattern string

// ParsePattern accepts what PROTOCOL §1 calls a pattern. The error says what is wrong and at which byte.
func ParsePattern(s string) (Pattern, error) {
	if err := checkTokens(s, true); err != nil {
		return "", fmt.Errorf("pattern %q: %w", clip(s), err)
	}
	return Pattern(s), nil
}

// IsTopic tells that the pattern has no wildcard: it stands for the one topic of its name.
func (p Pattern) IsTopic() bool {
	return strings.IndexByte(string(p), '*') < 0 && !strings.HasSuffix(string(p), ">")
}

// Matches tells whether t is one of the pattern's topics.
func (p Pattern) Matches(t Topic) bool {
	return covers(string(p), string(t))
}

// Covers tells whether every topic that q matches, p matches too.
func (p Pattern) Covers(q Pattern) bool {
	return covers(string(p), string(q))
}

// covers goes through both token by token. A topic is a pattern without wildcards, so that one rule serves both.
func covers(p, q string) bool {
	for {
		pt, pRest, pMore := strings.Cut(p, ".")
		if pt == ">" {
			return true // q has a token here, or the loop had ended
		}
		qt, qRest, qMore := strings.Cut(q, ".")
		switch {
		case qt == ">": // one token or more, and p has room for exactly one
			return false
		case pt != "*" && pt != qt:
			return false
		case pMore != qMore:
			return false
		case !pMore:
			return true
		}
		p, q = pRest, qRest
	}
}
