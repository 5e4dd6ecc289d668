package bus

import (
	"fmt"
	"slices"
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

// Literals is the number of tokens that are spelt out: the more, the fewer topics match.
func (p Pattern) Literals() int {
	n := 0
	for token := range strings.SplitSeq(string(p), ".") {
		if token != "*" && token != ">" {
			n++
		}
	}
	return n
}

// Matches tells whether t is one of the pattern's topics.
func (p Pattern) Matches(t Topic) bool {
	return covers(string(p), string(t))
}

// Covers tells whether every topic that q matches, p matches too.
func (p Pattern) Covers(q Pattern) bool {
	return covers(string(p), string(q))
}

// widest is patterns, each once, without those that another one covers. An edge asks for tens of thousands at a time, most of
// which are topics: these cover none but themselves, so that each is held against those with a wildcard alone.
func widest(patterns []Pattern) []Pattern {
	var each, wild []Pattern
	seen := make(map[Pattern]bool, len(patterns))
	for _, p := range patterns {
		if seen[p] {
			continue
		}
		seen[p] = true
		each = append(each, p)
		if !p.IsTopic() {
			wild = append(wild, p)
		}
	}
	return slices.DeleteFunc(each, func(p Pattern) bool {
		return slices.ContainsFunc(wild, func(w Pattern) bool { return w != p && w.Covers(p) })
	})
}

// covers goes through both side by side, token by token. A topic is a pattern without wildcards, so that one rule serves both.
// It is asked for each subscription of a client that lags, for each message: cutting tokens out would take twice as long.
func covers(p, q string) bool {
	i, j := 0, 0
	for {
		switch {
		case i < len(p) && p[i] == '>':
			return true // q has a token here
		case i < len(p) && p[i] == '*':
			if j < len(q) && q[j] == '>' { // one token or more, and p has room for exactly one
				return false
			}
			i++
			for j < len(q) && q[j] != '.' {
				j++
			}
		default:
			for i < len(p) && p[i] != '.' {
				if j == len(q) || q[j] != p[i] {
					return false
				}
				i++
				j++
			}
			if j < len(q) && q[j] != '.' {
				return false
			}
		}
		if i == len(p) || j == len(q) {
			return i == len(p) && j == len(q)
		}
		i++
		j++
	}
}
