package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says which tokens are good, and what their claims mean. A zero field means its default; without a key in one of
// SecretFiles, Secret, KeyFiles and JWKS no token can be verified, and New refuses.
type Config struct {
	SecretFiles []string // each holds one secret of HS256/384/512, 32 bytes or more; a line end at its end is not part of it
	Secret      string   // one more, in the clear; empty: none
	KeyFiles    []string // PEM: public keys or certificates, one or more in each, of RS, PS, ES or EdDSA
	JWKS        []JWKS   // sets of public keys (RFC 7517) that issuers publish

	Algorithms []string      // the only ones to take; default: all that fit the keys
	Issuers    []string      // one of these is a token's iss; default: any. A JWKS with an issuer of its own adds that one.
	Audiences  []string      // one of these is among a token's aud; default: any
	Leeway     time.Duration // by which clocks may differ, for exp, nbf and iat; default 30 s; below 0: none
	NoExpiry   bool          // tokens without exp are taken as well

	SubjectClaim string           // who the client is; default sub
	GrantsClaim  string           // an object with the lists subscribe and act; default tidings
	RoleClaim    string           // a text or a list of texts, as in role or realm_access.roles; default: none
	Roles        map[string]Grant // what each role may do, added to what GrantsClaim says

	MaxTokenBytes int // longer tokens are refused unread; default 8 KiB
	MaxGrants     int // patterns that one token may have, over all; default 256

	FileInterval time.Duration // between two looks at the files; a change counts once two in a row agree; default 1 s
	JWKSInterval time.Duration // between two fetches of a JWKS; default 10 min
	JWKSGap      time.Duration // at least so long between two fetches that unknown keys ask for; default 10 s
	JWKSTimeout  time.Duration // of one fetch, and of a Verify that waits for one; default 5 s
	PlainHTTP    bool          // a JWKS may come by http from other machines: whoever is on the way can then make tokens

	Logger     *slog.Logger          // nil: says nothing
	Registerer prometheus.Registerer // nil: metrics are kept and not registered
}

// JWKS is where an issuer publishes its keys. Only URLs of the configuration are ever fetched, never one that a token names.
type JWKS struct {
	URL    string // https://…
	Issuer string // its keys are for tokens with this iss, and those tokens have no other; empty: for all the others
}

// Grant is what a role may do, in patterns as in a token. {sub} in place of a token of a pattern stands for the subject of
// who asks; to a subject that is no single token of [A-Za-z0-9_-] such a pattern grants nothing.
type Grant struct {
	Subscribe []string
	Act       []string
}

// Bounds of what is configured. A token tries no more keys than there are.
const (
	maxLocalKeys = 32 // secrets and keys of files, over all
	maxLeeway    = 5 * time.Minute
)

func (c Config) withDefaults() Config {
	def(&c.Leeway, 30*time.Second)
	c.Leeway = max(c.Leeway, 0)
	def(&c.SubjectClaim, "sub")
	def(&c.GrantsClaim, "tidings")
	def(&c.MaxTokenBytes, 8<<10)
	def(&c.MaxGrants, 256)
	def(&c.FileInterval, time.Second)
	def(&c.JWKSInterval, 10*time.Minute)
	def(&c.JWKSGap, 10*time.Second)
	def(&c.JWKSTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// HasKeys tells whether there is any way to verify a token.
func (c Config) HasKeys() bool {
	return len(c.SecretFiles)+len(c.KeyFiles)+len(c.JWKS) > 0 || c.Secret != ""
}

// Validate names all that is wrong with c at once, each by its key. It opens no file and fetches nothing.
func (c Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(key+": "+format, args...))
	}
	if !c.HasKeys() {
		fault("SecretFiles", "no keys: name a file with a secret here, PEM files in KeyFiles, or an issuer's URL in JWKS")
	}
	for key, paths := range map[string][]string{"SecretFiles": c.SecretFiles, "KeyFiles": c.KeyFiles} {
		for _, path := range paths {
			if path == "" {
				fault(key, "an empty path")
			}
		}
	}
	if c.Secret != "" {
		if _, err := newKey("", []byte(c.Secret), known(c.Algorithms)); err != nil {
			fault("Secret", "%w", err)
		}
	}
	if n := len(c.SecretFiles) + len(c.KeyFiles); n > maxLocalKeys {
		fault("KeyFiles", "%d files, with SecretFiles, are too many: at most %d are allowed", n, maxLocalKeys)
	}
	issuers := map[string]bool{}
	for _, j := range c.JWKS {
		if err := j.validate(c.PlainHTTP); err != nil {
			fault("JWKS", "%w", err)
		}
		if j.Issuer != "" && issuers[j.Issuer] {
			fault("JWKS", "issuer %q has two", j.Issuer)
		}
		issuers[j.Issuer] = true
	}
	for _, name := range c.Algorithms {
		if !isAlgorithm(name) {
			fault("Algorithms", "%q is none of %s", name, strings.Join(Algorithms, " "))
		}
	}
	if c.Leeway > maxLeeway {
		fault("Leeway", "%v is more than %v", c.Leeway, maxLeeway)
	}
	if len(c.Roles) > 0 && c.RoleClaim == "" {
		fault("RoleClaim", "missing: where in a token do its roles stand?")
	}
	if c.RoleClaim != "" && len(c.Roles) == 0 {
		fault("Roles", "missing: what may the roles in %q do?", c.RoleClaim)
	}
	for _, name := range sortedKeys(c.Roles) {
		if _, err := compile(c.Roles[name]); err != nil {
			fault("Roles", "%s: %w", name, err)
		}
	}
	for _, n := range []struct {
		key      string
		value    int
		min, max int
	}{
		{"MaxTokenBytes", c.MaxTokenBytes, 256, 64 << 10},
		{"MaxGrants", c.MaxGrants, 1, 1 << 14},
	} {
		if n.value != 0 && (n.value < n.min || n.value > n.max) {
			fault(n.key, "%d is outside %d to %d", n.value, n.min, n.max)
		}
	}
	for _, d := range []struct {
		key   string
		value time.Duration
		min   time.Duration
	}{
		{"FileInterval", c.FileInterval, time.Millisecond},
		{"JWKSInterval", c.JWKSInterval, time.Millisecond},
		{"JWKSGap", c.JWKSGap, time.Millisecond},
		{"JWKSTimeout", c.JWKSTimeout, time.Millisecond},
	} {
		if d.value != 0 && d.value < d.min {
			fault(d.key, "%v is less than %v", d.value, d.min)
		}
	}
	return errors.Join(faults...)
}

// known leaves out what is no algorithm, so that each mistake is told once.
func known(algorithms []string) []string {
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !isAlgorithm(a) })
}

func (j JWKS) validate(plain bool) error {
	u, err := url.Parse(j.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("that is no URL such as https://login.example.org/.well-known/jwks.json")
	case u.User != nil:
		return fmt.Errorf("the URL of %s has a user in it; keys are public, and need none", u.Host)
	case u.Scheme == "http" && !plain && !isLoopback(u.Hostname()):
		return fmt.Errorf("%q comes by http from another machine, and whoever is on the way could make tokens: use https", j.URL)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
