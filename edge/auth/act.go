package auth

import (
	"fmt"
	"slices"
	"strings"

	"tidings/bus"
)

// ActPattern is `<host>.<container>.<action>` over host tokens and container names, with the wildcards of a topic's pattern.
type ActPattern string

// verbs are all that there are (PROTOCOL §6).
var verbs = []bus.Verb{bus.Start, bus.Stop, bus.Restart, bus.Pause, bus.Unpause, bus.Kill, bus.Remove}

// ParseActPattern accepts three tokens, each `*` or of [A-Za-z0-9_-], of which a last `>` may stand for the rest. A host may
// be called as no topic can, status for example, so this is not bus.ParsePattern. An action that is not known here is let
// pass, and grants nothing: who makes tokens may be newer than this edge.
func ParseActPattern(s string) (ActPattern, error) {
	if err := checkAct(s); err != nil {
		return "", fmt.Errorf("pattern %q: %w", clip(s), err)
	}
	return ActPattern(s), nil
}

func checkAct(s string) error {
	if len(s) > bus.MaxTopicBytes {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), bus.MaxTopicBytes)
	}
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == "*", isToken(token):
		case token == ">" && i == len(tokens)-1:
		default:
			return fmt.Errorf("token %d is neither *, a last > nor of A-Z a-z 0-9 _ -", i+1)
		}
	}
	if open := tokens[len(tokens)-1] == ">"; len(tokens) > 3 || len(tokens) < 3 && !open {
		return fmt.Errorf("has %d tokens where <host>.<container>.<action> has 3", len(tokens))
	}
	return nil
}

// CheckVerb refuses an action that does not exist, where a person has written it here and now.
func (p ActPattern) CheckVerb() error {
	tokens := strings.Split(string(p), ".")
	verb := tokens[len(tokens)-1]
	if verb == "*" || verb == ">" || slices.Contains(verbs, bus.Verb(verb)) {
		return nil
	}
	return fmt.Errorf("pattern %q: there is no action %q; there are %s", clip(string(p)), clip(verb), listVerbs())
}

func listVerbs() string {
	names := make([]string, len(verbs))
	for i, v := range verbs {
		names[i] = string(v)
	}
	return strings.Join(names, " ")
}

// isToken tells whether s is one token of the grammar of topics, without wildcards (PROTOCOL §1).
func isToken(s string) bool {
	return s != "" && len(s) <= bus.MaxTopicBytes && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) < 0
}

// MayActOnSome tells whether there may be a container of a host on which one of the grants covers an action. Who knows a
// container by its id alone asks this, and MayAct once its name is known.
func (s *Session) MayActOnSome(host string, verb bus.Verb) bool {
	for _, granted := range s.Act {
		tokens := strings.Split(string(granted), ".")
		if covers(tokens[0], host) && covers(tokens[len(tokens)-1], string(verb)) {
			return true
		}
	}
	return false
}

// covers tells whether one token of a pattern, be it a wildcard, covers one word.
func covers(token, word string) bool { return token == "*" || token == ">" || token == word }
