package edge_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/auth"
)

// issuer makes tokens, and is the verifier of edges that take them.
type issuer struct {
	mu     sync.Mutex
	tokens map[string]*auth.Session
}

func newIssuer(testing.TB) *issuer { return &issuer{tokens: map[string]*auth.Session{}} }

// grants is what a token says.
type grants struct {
	sub       string
	expires   time.Time // zero: never
	subscribe []string
	act       []string
}

func (i *issuer) token(g grants) string {
	s := &auth.Session{Subject: g.sub, Expires: g.expires}
	for _, p := range g.subscribe {
		s.Subscribe = append(s.Subscribe, bus.Pattern(p))
	}
	for _, p := range g.act {
		s.Act = append(s.Act, auth.ActPattern(p))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	name := "dG9rZW4." + strings.Repeat("x", len(i.tokens)+1) + ".c2ln"
	i.tokens[name] = s
	return name
}

func (i *issuer) Verify(_ context.Context, token string) (*auth.Session, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.tokens[token]
	switch {
	case s == nil:
		return nil, auth.ErrInvalid
	case !s.Expires.IsZero() && time.Now().After(s.Expires.Add(leeway)):
		return nil, auth.ErrExpired
	}
	return s, nil
}

const leeway = 2 * time.Second

// takes makes an edge take the issuer's tokens.
func (i *issuer) takes(cfg *edge.Config) { cfg.Verifier = i }
