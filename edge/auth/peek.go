package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Peek reads what a token says of itself, with no reason to believe any of it: for tools that explain tokens to people. Numbers
// are json.Number. The error is ErrInvalid.
func Peek(token string) (header, claims map[string]any, err error) {
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return nil, nil, refusef(reasonMalformed, "it is no JWT, which has three parts and two dots between them")
	}
	for i, part := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(segments[i])
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err != nil || decoder.Decode(part) != nil || *part == nil {
			return nil, nil, refusef(reasonMalformed, "it is no JWT: its %s is no JSON object in base64url", []string{"header", "payload"}[i])
		}
	}
	return header, claims, nil
}

// PeekGrants reads a grants claim as Peek gave it. Of the session there is no more than the grants.
func PeekGrants(claim any) (*Session, error) {
	var g grants
	if err := parseGrants(claim, &g); err != nil {
		return nil, err
	}
	return &Session{Subscribe: g.subscribe, Act: g.act}, nil
}
