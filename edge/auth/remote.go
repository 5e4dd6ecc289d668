package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

// Bounds of what an issuer may answer.
const (
	maxJWKSBytes = 256 << 10
	maxJWKSKeys  = 64
	maxRedirects = 3
)

// maxWaiting bounds the tokens that wait for one issuer; the others are told to come back.
const maxWaiting = 8

// firstRetry is the wait after a first failure; each further one doubles it, up to the interval.
const firstRetry = time.Second

// remote is one JWKS. Its goroutine fetches, so that there is never more than one fetch; who misses a key asks it to.
type remote struct {
	JWKS
	host    string
	allowed []string
	cfg     *Config
	client  *http.Client
	metrics *metrics
	wish    chan struct{} // for a fetch; holds one; sent to while none is under way

	mu       sync.Mutex
	keys     []key
	loaded   time.Time     // when the keys came; zero: never
	failure  error         // of the last fetch
	began    time.Time     // the last fetch
	fetching bool          // it has not ended
	attempt  chan struct{} // closed when the next fetch ends
	waiting  int           // for that
}

func newRemote(j JWKS, cfg *Config, m *metrics) *remote {
	u, _ := url.Parse(j.URL) // Validate has
	return &remote{
		JWKS: j, host: u.Host, allowed: cfg.Algorithms, cfg: cfg, metrics: m,
		wish: make(chan struct{}, 1), attempt: make(chan struct{}),
		client: &http.Client{
			// No connection is kept: fetches are rare, and an idle one would outlive Run.
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
			CheckRedirect: stayThere,
		},
	}
}

// stayThere follows no redirect to another server, or from https to http.
func stayThere(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		return errors.New("the answer is a redirect to elsewhere, which is not followed: configure the URL where the keys are")
	}
	if len(via) > maxRedirects {
		return errors.New("the answer is one redirect after another")
	}
	return nil
}

// run fetches at once, then at intervals, sooner after failures and when somebody wishes, until ctx ends.
func (r *remote) run(ctx context.Context) {
	failures := 0
	for {
		if err := r.refresh(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			failures++
		} else {
			failures = 0
		}
		if !r.pause(ctx, failures) {
			return
		}
	}
}

// pause waits for the time of the next fetch, or a wish. false: ctx has ended.
func (r *remote) pause(ctx context.Context, failures int) bool {
	wait := r.cfg.JWKSInterval
	if failures > 0 {
		wait = min(wait, firstRetry<<min(failures-1, 16))
	}
	timer := time.NewTimer(wait*9/10 + rand.N(wait/5+1)) // so that edges do not all come at once
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-r.wish:
	}
	return true
}

// refresh fetches once. When it fails, the keys of the last time that it did not go on.
func (r *remote) refresh(ctx context.Context) error {
	r.mu.Lock()
	r.began, r.fetching = time.Now(), true
	select {
	case <-r.wish: // this is what it wished for
	default:
	}
	r.mu.Unlock()

	keys, err := r.fetch(ctx)

	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.keys, r.loaded = keys, time.Now()
	}
	r.failure, r.fetching = err, false
	close(r.attempt)
	r.attempt = make(chan struct{})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.metrics.fetchesFailed.Inc()
		r.cfg.Logger.Warn("an issuer's keys could not be fetched", "host", r.host, "error", err, "keys", len(r.keys), "since", r.loaded)
	default:
		r.metrics.fetches.Inc()
		r.cfg.Logger.Debug("an issuer's keys were fetched", "host", r.host, "keys", len(keys))
	}
	return err
}

// missing waits for a fetch that may bring a key that is missing, and says what is in the way of one: nil when the keys are as
// new as can be. If there was a fetch a moment ago it returns at once, so that tokens with invented keys cannot have us besiege
// the issuer; and so it does when many wait, because an issuer that does not answer must not hold up those whose keys are there.
func (r *remote) missing(ctx context.Context) error {
	r.mu.Lock()
	if !r.fetching && time.Since(r.began) < r.cfg.JWKSGap {
		defer r.mu.Unlock()
		r.metrics.fetchesSpared.Inc()
		return r.failure
	}
	if r.waiting >= maxWaiting {
		defer r.mu.Unlock()
		return errCrowded
	}
	r.waiting++
	attempt := r.attempt
	if !r.fetching {
		select {
		case r.wish <- struct{}{}:
		default: // somebody else has
		}
	}
	r.mu.Unlock()

	var late error
	select {
	case <-attempt:
	case <-ctx.Done():
		late = errNotFetched
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	return cmp.Or(late, r.failure)
}

var (
	errNotFetched = errors.New("they are still being fetched")
	errCrowded    = errors.New("they are still being fetched, and many wait for them")
)

// held is what there is now. The error says why the keys have never been had.
func (r *remote) held() ([]key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded.IsZero() {
		return nil, cmp.Or(r.failure, errNotFetched)
	}
	return r.keys, nil
}

func (r *remote) fetch(ctx context.Context) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.JWKSTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxJWKSBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxJWKSBytes {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxJWKSBytes)
	}
	return parseJWKS(body, r.allowed, r.cfg.Logger.With("host", r.host))
}

// parseJWKS reads a set of keys (RFC 7517 §5). Keys that are not for signatures, or that this package cannot use, are left
// out, as §5 asks for; a set without any that it can use is an error, so that a broken answer does not lock everybody out.
func parseJWKS(body []byte, allowed []string, logger *slog.Logger) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is no JWKS")
	}
	if len(set.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("the answer has %d keys, at most %d are allowed", len(set.Keys), maxJWKSKeys)
	}
	var keys []key
	for i, raw := range set.Keys {
		k, err := parseJWK(raw, allowed)
		if err != nil {
			logger.Debug("a key of an issuer is left out", "key", i+1, "error", err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d keys in the answer can verify a token here", len(set.Keys))
	}
	return keys, nil
}

// parseJWK reads one key. With an alg it is good for that one alone, otherwise for all of its kind.
func parseJWK(raw json.RawMessage, allowed []string) (key, error) {
	var marshal jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &marshal); err != nil {
		return key{}, errors.New("is no JWK")
	}
	switch {
	case marshal.KTY == jwkset.KtyOct:
		return key{}, errors.New("is a secret, which cannot be public")
	case marshal.USE != "" && marshal.USE != jwkset.UseSig:
		return key{}, fmt.Errorf("is for %q, and not for signatures", clip(string(marshal.USE)))
	case len(marshal.KEYOPS) > 0 && !slices.Contains(marshal.KEYOPS, jwkset.KeyOpsVerify):
		return key{}, errors.New("is not for verifying, its key_ops say")
	case len(marshal.KID) > maxKID:
		return key{}, errors.New("has a kid that is too long")
	}
	// The certificates that a key may come with say nothing that is used here, and x5u would be a URL to fetch.
	marshal.X5C, marshal.X5U, marshal.X5T, marshal.X5TS256 = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(marshal, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, err
	}
	if alg := marshal.ALG.String(); alg != "" {
		if len(allowed) > 0 && !slices.Contains(allowed, alg) {
			return key{}, fmt.Errorf("is for %q, which is not allowed here", clip(alg))
		}
		allowed = []string{alg}
	}
	return newKey(marshal.KID, jwk.Key(), allowed)
}

// maxKID bounds the name of a key, in bytes.
const maxKID = 256
