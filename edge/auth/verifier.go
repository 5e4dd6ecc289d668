package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Verifier turns tokens into sessions. Verify may be called by any goroutine, also before Run and after it.
type Verifier struct {
	cfg     Config
	parser  *jwt.Parser
	roles   map[string]role
	metrics *metrics

	fixed   []key                 // of the configuration itself
	files   []*file               // New's, then Run's alone
	local   atomic.Pointer[[]key] // secrets, and what the files hold now
	issuers map[string]*remote    // whose tokens are verified by their own keys alone
	shared  []*remote             // for all others
}

// New reads all files. An issuer that is not there is no error: its tokens are ErrUnavailable until Run has had its keys.
func New(cfg Config) (*Verifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	v := &Verifier{cfg: cfg, roles: map[string]role{}, issuers: map[string]*remote{}, metrics: newMetrics()}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(allowed(cfg.Algorithms)), jwt.WithJSONNumber(), jwt.WithStrictDecoding(), jwt.WithLeeway(cfg.Leeway),
		jwt.WithIssuedAt(), // RFC 7519 §4.1.6 leaves it open: a token of tomorrow is of a clock, or an issuer, that is not to be trusted
	}
	if !cfg.NoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	if len(cfg.Audiences) > 0 {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	v.parser = jwt.NewParser(options...)
	for name, grant := range cfg.Roles {
		v.roles[name], _ = compile(grant) // Validate has
	}
	if err := v.loadAll(); err != nil {
		return nil, err
	}
	for _, j := range cfg.JWKS {
		r := newRemote(j, &v.cfg, v.metrics)
		if j.Issuer == "" {
			v.shared = append(v.shared, r)
		} else {
			v.issuers[j.Issuer] = r
		}
	}
	if err := v.metrics.register(cfg.Registerer, v); err != nil {
		return nil, err
	}
	return v, nil
}

func allowed(algorithms []string) []string {
	if len(algorithms) == 0 {
		return Algorithms
	}
	return algorithms
}

// loadAll reads what is on this machine. All faults are told at once.
func (v *Verifier) loadAll() error {
	var faults []error
	if v.cfg.Secret != "" {
		k, err := newKey("", []byte(v.cfg.Secret), v.cfg.Algorithms)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", "Secret", err))
		}
		v.fixed = []key{k}
	}
	for _, path := range v.cfg.SecretFiles {
		v.files = append(v.files, &file{path: path, parse: secretKey})
	}
	for _, path := range v.cfg.KeyFiles {
		v.files = append(v.files, &file{path: path, parse: pemKeys})
	}
	for _, f := range v.files {
		if err := f.load(v.cfg.Algorithms); err != nil {
			faults = append(faults, err)
		}
	}
	v.gather()
	return errors.Join(faults...)
}

// gather puts together what is on this machine, in one step for those who verify meanwhile.
func (v *Verifier) gather() {
	keys := slices.Clone(v.fixed)
	for _, f := range v.files {
		keys = append(keys, f.keys...)
	}
	v.local.Store(&keys)
}

// Run keeps the keys up to date until ctx ends, and returns nil: it looks at the files, and fetches from the issuers. It
// may be called once.
func (v *Verifier) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for r := range v.remotes() {
		running.Go(func() { r.run(ctx) })
	}
	if len(v.files) > 0 {
		running.Go(func() { v.watch(ctx) })
	}
	<-ctx.Done()
	return nil
}

func (v *Verifier) remotes() func(yield func(*remote) bool) {
	return func(yield func(*remote) bool) {
		for _, r := range v.shared {
			if !yield(r) {
				return
			}
		}
		maps.Values(v.issuers)(yield)
	}
}

// Ready is nil as soon as there is any key to verify a token with.
func (v *Verifier) Ready() error {
	if v.keyCount() > 0 {
		return nil
	}
	for r := range v.remotes() {
		if _, err := r.held(); err != nil {
			return fmt.Errorf("no keys to verify tokens with: %w", err)
		}
	}
	return nil
}

// Verify says whose token this is and what it may do. The error is ErrInvalid, ErrExpired or ErrUnavailable, and its text is
// for the operator. It may wait, for Config.JWKSTimeout at most, for an issuer to be asked about a key that is new.
func (v *Verifier) Verify(ctx context.Context, token string) (*Session, error) {
	began := time.Now()
	s, err := v.verify(ctx, token)
	v.metrics.verified(time.Since(began), err)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (*Session, error) {
	if len(token) > v.cfg.MaxTokenBytes {
		return nil, refusef(reasonTooLarge, "it has %d bytes, at most %d are allowed", len(token), v.cfg.MaxTokenBytes)
	}
	claims := jwt.MapClaims{}
	reached := false // the choice of a key, and so an alg that is allowed
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		reached = true
		if err := screen(t.Header, claims); err != nil {
			return nil, err
		}
		kid, _ := t.Header["kid"].(string)
		return v.keysFor(ctx, t.Method.Alg(), kid, claims)
	})
	if err != nil {
		return nil, refuse(err, reached)
	}
	return v.session(claims)
}

// keysFor finds the keys that may have signed a token which says this of itself. None of it is to be believed yet: it chooses
// among the keys that are configured, and each of those has its algorithms pinned.
func (v *Verifier) keysFor(ctx context.Context, algorithm, kid string, claims jwt.MapClaims) (any, error) {
	issuer, _ := claims["iss"].(string)
	var local []key
	remotes := v.shared
	if own := v.issuers[issuer]; own != nil {
		remotes = []*remote{own}
	} else {
		if len(v.cfg.Issuers) > 0 && !slices.Contains(v.cfg.Issuers, issuer) {
			return nil, refusef(reasonIssuer, "its issuer %q is none of ours", clip(issuer))
		}
		local = *v.local.Load()
	}
	found, other := search(local, remotes, algorithm, kid)
	var missing error
	if found == nil && !other {
		missing = v.ask(ctx, remotes)
		found, other = search(local, remotes, algorithm, kid)
	}
	switch {
	case found != nil:
		return jwt.VerificationKeySet{Keys: found}, nil
	case other:
		return nil, refusef(reasonAlgorithm, "its key %q is not for %s", clip(kid), algorithm)
	case missing != nil:
		return nil, refusef(reasonUnavailable, "those of its issuer %q cannot be had: %v", clip(issuer), missing)
	}
	return nil, refusef(reasonUnknownKey, "there is no key %q for %s of issuer %q", clip(kid), algorithm, clip(issuer))
}

// ask has issuers asked for keys that may be new, all at the same time. The error is one of those that stood in the way.
func (v *Verifier) ask(ctx context.Context, remotes []*remote) error {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.JWKSTimeout)
	defer cancel()
	faults := make([]error, len(remotes))
	var asking sync.WaitGroup
	for i, r := range remotes {
		asking.Go(func() { faults[i] = r.missing(ctx) })
	}
	asking.Wait()
	return errors.Join(faults...)
}

// search finds the keys that match. other: one of that name is for another algorithm.
func search(local []key, remotes []*remote, algorithm, kid string) (found []jwt.VerificationKey, other bool) {
	take := func(keys []key) {
		for _, k := range keys {
			switch {
			case k.matches(algorithm, kid):
				found = append(found, k.value)
			case kid != "" && k.id == kid:
				other = true
			}
		}
	}
	take(local)
	for _, r := range remotes {
		keys, _ := r.held()
		take(keys)
	}
	return found, other
}

// refuse says in our words why the parser refused a token: its own could repeat parts of it. reached: its alg is allowed, and its keys were looked for.
func refuse(err error, reached bool) error {
	var r *refusal
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case errors.As(err, &r):
		return r
	case is(jwt.ErrTokenMalformed):
		return refusef(reasonMalformed, "it is no JWT")
	case !reached:
		return refusef(reasonAlgorithm, "its alg is none of those allowed")
	case is(jwt.ErrTokenSignatureInvalid):
		return refusef(reasonSignature, "none of the keys that it could be has signed it")
	case is(jwt.ErrTokenRequiredClaimMissing):
		return refusef(reasonClaims, "its exp or aud is missing")
	case is(jwt.ErrInvalidType):
		return refusef(reasonClaims, "its exp, nbf, iat or aud is not of the form that it has to be")
	case is(jwt.ErrTokenInvalidAudience):
		return refusef(reasonAudience, "its aud is somebody else")
	case is(jwt.ErrTokenNotValidYet):
		return refusef(reasonNotYet, "its nbf has not come; do the clocks agree?")
	case is(jwt.ErrTokenUsedBeforeIssued):
		return refusef(reasonNotYet, "its iat has not come; do the clocks agree?")
	case is(jwt.ErrTokenExpired):
		return refusef(reasonExpired, "its exp has passed")
	}
	return refusef(reasonClaims, "a claim is not of the form that it has to be")
}
