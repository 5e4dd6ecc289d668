package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidings/bus"
)

// placeholder stands in the pattern of a role for the subject of who asks.
const placeholder = "{sub}"

// grants is what a token may do, while it is gathered.
type grants struct {
	subscribe []bus.Pattern
	act       []ActPattern
}

// role is a Grant whose patterns have been checked.
type role struct {
	fixed     grants
	subscribe []string // those with a placeholder
	act       []string
}

// compile checks a role's patterns once, so that a mistake is found when the edge starts.
func compile(g Grant) (role, error) {
	var r role
	var faults []error
	for _, s := range g.Subscribe {
		// Any token will do to see whether the rest is right.
		p, err := bus.ParsePattern(fillIn(s, "subject"))
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("subscribe: %w", err))
		case hasPlaceholder(s):
			r.subscribe = append(r.subscribe, s)
		default:
			r.fixed.subscribe = append(r.fixed.subscribe, p)
		}
	}
	for _, s := range g.Act {
		p, err := ParseActPattern(fillIn(s, "subject"))
		if err == nil {
			err = p.CheckVerb()
		}
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("act: %w", err))
		case hasPlaceholder(s):
			r.act = append(r.act, s)
		default:
			r.fixed.act = append(r.fixed.act, p)
		}
	}
	if len(g.Subscribe)+len(g.Act) == 0 {
		faults = append(faults, errors.New("grants nothing; write subscribe or act, and patterns after it"))
	}
	return r, errors.Join(faults...)
}

// addTo adds what the role grants to subject.
func (r role) addTo(g *grants, subject string) {
	g.subscribe = append(g.subscribe, r.fixed.subscribe...)
	g.act = append(g.act, r.fixed.act...)
	if !isToken(subject) {
		return // it could not be put into a pattern without becoming another
	}
	for _, s := range r.subscribe {
		if p, err := bus.ParsePattern(fillIn(s, subject)); err == nil {
			g.subscribe = append(g.subscribe, p)
		}
	}
	for _, s := range r.act {
		if p, err := ParseActPattern(fillIn(s, subject)); err == nil {
			g.act = append(g.act, p)
		}
	}
}

func hasPlaceholder(pattern string) bool {
	return slices.Contains(strings.Split(pattern, "."), placeholder)
}

// fillIn puts subject in place of each token that is the placeholder.
func fillIn(pattern, subject string) string {
	tokens := strings.Split(pattern, ".")
	for i := range tokens {
		if tokens[i] == placeholder {
			tokens[i] = subject
		}
	}
	return strings.Join(tokens, ".")
}

// parseGrants reads the grants claim: {"subscribe":[…],"act":[…]}. Absent means none. The error says which one is wrong,
// and does not repeat it.
func parseGrants(claim any, g *grants) error {
	if claim == nil {
		return nil
	}
	object, ok := claim.(map[string]any)
	if !ok {
		return errors.New("is no object with the lists subscribe and act")
	}
	err := eachText(object, "subscribe", func(s string) error {
		p, err := bus.ParsePattern(s)
		g.subscribe = append(g.subscribe, p)
		return err
	})
	if err != nil {
		return err
	}
	return eachText(object, "act", func(s string) error {
		p, err := ParseActPattern(s)
		g.act = append(g.act, p)
		return err
	})
}

func eachText(object map[string]any, name string, take func(string) error) error {
	if object[name] == nil {
		return nil
	}
	list, ok := object[name].([]any)
	if !ok {
		return fmt.Errorf("%s is no list", name)
	}
	for i, element := range list {
		s, ok := element.(string)
		if !ok {
			return fmt.Errorf("%s, entry %d is no text", name, i+1)
		}
		if err := take(s); err != nil {
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // without the pattern itself
			}
			return fmt.Errorf("%s, entry %d is no pattern: %w", name, i+1, err)
		}
	}
	return nil
}

// addRoles adds what each role of a token grants. One that is not known grants nothing: it may be another program's.
func addRoles(claim any, roles map[string]role, subject string, g *grants) error {
	names, ok := claim.([]any)
	if !ok && claim != nil {
		names = []any{claim}
	}
	if len(names) > maxRoles {
		return fmt.Errorf("has %d roles, at most %d are allowed", len(names), maxRoles)
	}
	for _, name := range names {
		text, ok := name.(string)
		if !ok {
			return errors.New("is neither a text nor a list of texts")
		}
		if r, ok := roles[text]; ok {
			r.addTo(g, subject)
		}
	}
	return nil
}

// maxRoles bounds what a token's role claim may list.
const maxRoles = 256

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
