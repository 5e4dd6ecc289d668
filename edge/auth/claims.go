package auth

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxSubject = 256          // bytes
	maxDate    = 253402300799 // the end of the year 9999, in Unix seconds
)

// screen refuses what the parser would let pass, before anything is looked up for it.
func screen(header map[string]any, claims jwt.MapClaims) error {
	if _, ok := header["crit"]; ok {
		return refusef(reasonMalformed, "it demands extensions (crit) that nobody here understands") // RFC 7515 §4.1.11
	}
	if kid, ok := header["kid"]; ok {
		if s, isText := kid.(string); !isText || len(s) > maxKID {
			return refusef(reasonMalformed, "its kid is no text, or too long")
		}
	}
	if iss, ok := claims["iss"]; ok {
		if _, isText := iss.(string); !isText {
			return refusef(reasonClaims, "its iss is no text")
		}
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if _, err := date(claims, name); err != nil {
			return err
		}
	}
	return nil
}

// date reads a NumericDate (RFC 7519 §2). Absent is the zero time.
func date(claims jwt.MapClaims, name string) (time.Time, error) {
	value, ok := claims[name]
	if !ok {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, refusef(reasonClaims, "its %s is no number", name)
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > maxDate {
		return time.Time{}, refusef(reasonClaims, "its %s is no time between 1970 and 9999; is it in seconds?", name)
	}
	return time.UnixMilli(int64(seconds * 1000)), nil
}

// session makes one of claims that have been verified.
func (v *Verifier) session(claims jwt.MapClaims) (*Session, error) {
	subject, err := subjectOf(lookup(claims, v.cfg.SubjectClaim))
	if err != nil {
		return nil, err
	}
	s := &Session{Subject: subject}
	if s.Expires, err = date(claims, "exp"); err != nil {
		return nil, err
	}
	if !s.Expires.IsZero() {
		s.Ends = s.Expires.Add(v.cfg.Leeway)
	}
	var g grants
	if err := parseGrants(lookup(claims, v.cfg.GrantsClaim), &g); err != nil {
		return nil, refusef(reasonGrants, "its claim %s: %v", v.cfg.GrantsClaim, err)
	}
	if v.cfg.RoleClaim != "" {
		if err := addRoles(lookup(claims, v.cfg.RoleClaim), v.roles, subject, &g); err != nil {
			return nil, refusef(reasonGrants, "its claim %s: %v", v.cfg.RoleClaim, err)
		}
	}
	if n := len(g.subscribe) + len(g.act); n > v.cfg.MaxGrants {
		return nil, refusef(reasonGrants, "it has %d grants, at most %d are allowed", n, v.cfg.MaxGrants)
	}
	s.Subscribe, s.Act = g.subscribe, g.act
	return s, nil
}

// subjectOf reads who a token is of. Numbers are taken too, since many applications count their users.
func subjectOf(claim any) (string, error) {
	switch value := claim.(type) {
	case nil:
		return "", nil
	case json.Number:
		return value.String(), nil
	case string:
		if len(value) <= maxSubject && utf8.ValidString(value) && strings.IndexFunc(value, unicode.IsControl) < 0 {
			return value, nil
		}
		return "", refusef(reasonClaims, "its subject is longer than %d bytes, or has control characters", maxSubject)
	}
	return "", refusef(reasonClaims, "its subject is no text")
}

// lookup finds a claim by its name, or by a path with dots into the objects of the token. A name that has dots of its own,
// such as https://example.org/roles, comes first.
func lookup(claims map[string]any, path string) any {
	if value, ok := claims[path]; ok {
		return value
	}
	for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if inner, ok := claims[path[:i]].(map[string]any); ok {
			if value := lookup(inner, path[i+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}
