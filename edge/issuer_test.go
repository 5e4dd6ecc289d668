package edge_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/edge"
	"tidings/edge/auth"
)

// issuer makes tokens, and verifies them for the edges that take them. Some of its verifications take as long as a test likes.
type issuer struct {
	t        testing.TB
	verifier *auth.Verifier

	mu      sync.Mutex
	gates   map[string]gate
	trouble map[string]error // tokens that can't be verified, and why
	waiting int
}

// gate holds a token up.
type gate struct {
	token string
	open  chan struct{}
}

// secret is what the issuer signs with.
const secret = "thirty-two bytes, and some more of them"

// leeway is how long a token is taken after it has expired, where a test asks for that.
const leeway = 2 * time.Second

func newIssuer(t testing.TB) *issuer { return newIssuerWith(t, auth.Config{Leeway: -1}) }

func newIssuerWith(t testing.TB, cfg auth.Config) *issuer {
	t.Helper()
	cfg.NoExpiry, cfg.Secret = true, secret
	v, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, verifier: v, gates: map[string]gate{}, trouble: map[string]error{}}
}

// takes makes an edge take the issuer's tokens.
func (i *issuer) takes(cfg *edge.Config) { cfg.Verifier = i }

// grants is what a token says.
type grants struct {
	sub       string
	expires   time.Time // a whole second; zero: never
	subscribe []string
	act       []string
}

// soon is a whole second, as exp counts them, at least so far off and less than a second more.
func soon(d time.Duration) time.Time {
	return time.Now().Add(d + time.Second - 1).Truncate(time.Second)
}

func (i *issuer) token(g grants) string {
	i.t.Helper()
	claims := jwt.MapClaims{"sub": g.sub, "tidings": map[string]any{"subscribe": g.subscribe, "act": g.act}}
	if !g.expires.IsZero() {
		claims["exp"] = g.expires.Unix()
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		i.t.Fatal(err)
	}
	return token
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
		return i.verifier.Verify(ctx, token)
	}
	defer func() {
		i.mu.Lock()
		i.waiting--
		i.mu.Unlock()
	}()
	select {
	case <-g.open:
		return i.verifier.Verify(ctx, g.token)
	case <-ctx.Done():
		return nil, auth.ErrUnavailable
	}
}
