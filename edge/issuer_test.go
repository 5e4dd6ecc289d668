package edge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/bus"
	"tidings/edge"
	"tidings/edge/auth"
)

// issuer makes tokens, and is the verifier of edges that take them. Verifying some of them takes as long as a test likes.
type issuer struct {
	mu      sync.Mutex
	tokens  map[string]*auth.Session
	gates   map[string]gate
	trouble map[string]error // tokens that can't be verified, and why
	waiting int
}

// gate holds a token up.
type gate struct {
	token string
	open  chan struct{}
}

func newIssuer(testing.TB) *issuer {
	return &issuer{tokens: map[string]*auth.Session{}, gates: map[string]gate{}, trouble: map[string]error{}}
}

// takes makes an edge take the issuer's tokens.
func (i *issuer) takes(cfg *edge.Config) { cfg.Verifier = i }

// grants is what a token says.
type grants struct {
	sub       string
	expires   time.Time // zero: never
	subscribe []string
	act       []string
}

// leeway is how long a token is taken after it has expired.
const leeway = 2 * time.Second

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

func (i *issuer) verify(_ context.Context, token string) (*auth.Session, error) {
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

// held is a token that is verified as the given one, but not before it is released.
func (i *issuer) held(token string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	name := fmt.Sprintf("aGVsZA.%d.c2ln", len(i.gates))
	i.gates[name] = gate{token, make(chan struct{})}
	return name
}

func (i *issuer) release(held string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.gates[held].open)
}

// failing is a token that can't be verified.
func (i *issuer) failing(err error) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	name := fmt.Sprintf("dHJvdWJsZQ.%d.c2ln", len(i.trouble))
	i.trouble[name] = err
	return name
}

// waits counts the tokens that are held up just now.
func (i *issuer) waits() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.waiting
}

func (i *issuer) Verify(ctx context.Context, token string) (*auth.Session, error) {
	i.mu.Lock()
	g, held := i.gates[token]
	err := i.trouble[token]
	if held {
		i.waiting++
	}
	i.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !held:
		return i.verify(ctx, token)
	}
	defer func() {
		i.mu.Lock()
		i.waiting--
		i.mu.Unlock()
	}()
	select {
	case <-g.open:
		return i.verify(ctx, g.token)
	case <-ctx.Done():
		return nil, auth.ErrUnavailable
	}
}
