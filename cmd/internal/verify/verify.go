// Package verify makes a verifier of tokens from a configuration, for the programs that take some.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/cmd/internal/daemon"
	"tidings/configs"
	"tidings/edge/auth"
)

// Check tells what is wrong with the tokens of a configuration, in which there may be none.
func Check(config configs.Tokens) error {
	c, err := authConfig(config)
	faults := []error{err}
	if config.HasKeys() {
		faults = append(faults, c.Validate())
	}
	return configs.Under("tokens", errors.Join(faults...))
}

// New makes the verifier, and reads its files; what is wrong with those ends the program as a fault of its configuration.
// nil: there are no keys, and so nobody can be verified.
func New(config configs.Tokens, logger *slog.Logger, registry prometheus.Registerer) (*auth.Verifier, error) {
	if !config.HasKeys() {
		return nil, nil
	}
	c, err := authConfig(config)
	if err != nil {
		return nil, daemon.WithCode(daemon.ExitConfig, fmt.Errorf("tokens: %w", err))
	}
	c.Logger, c.Registerer = logger, registry
	v, err := auth.New(c)
	if err != nil {
		return nil, daemon.WithCode(daemon.ExitConfig, fmt.Errorf("tokens: %w", err))
	}
	return v, nil
}

// Part is a verifier as one of a program's parts, one without work for nil. What asks it comes after it, and so ends first.
func Part(v *auth.Verifier) daemon.Part {
	return daemon.Part{Name: "tokens", Run: func(ctx context.Context) error {
		if v == nil {
			<-ctx.Done()
			return nil
		}
		return v.Run(ctx)
	}}
}

// Ready is why nobody can be verified, if that is so. There is no reason with nil: nobody is asked for a token then.
func Ready(v *auth.Verifier) []string {
	if v == nil {
		return nil
	}
	return daemon.Reason(v.Ready)()
}

// authConfig is a configuration in the words of package auth, and what is wrong with the lists that are written as texts.
func authConfig(config configs.Tokens) (auth.Config, error) {
	c := auth.Config{
		SecretFiles:  config.SecretFiles,
		Secret:       config.Secret,
		KeyFiles:     config.KeyFiles,
		JWKSInterval: config.JWKSInterval,
		PlainHTTP:    config.JWKSPlainHTTP,
		Algorithms:   config.Algorithms,
		Issuers:      config.Issuers,
		Audiences:    config.Audiences,
		Leeway:       config.Leeway,
		NoExpiry:     !config.RequireExp,
		SubjectClaim: config.SubjectClaim,
		GrantsClaim:  config.GrantsClaim,
		RoleClaim:    config.RoleClaim,
	}
	if config.Leeway == 0 {
		c.Leeway = -1 // none, where auth's 0 is the default
	}
	for _, s := range config.JWKS {
		c.JWKS = append(c.JWKS, parseJWKS(s))
	}
	var err error
	c.Roles, err = parseRoles(config.Roles)
	return c, err
}

// parseJWKS reads "URL" or "ISSUER URL".
func parseJWKS(s string) auth.JWKS {
	issuer, url, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		return auth.JWKS{URL: issuer}
	}
	return auth.JWKS{Issuer: issuer, URL: strings.TrimSpace(url)}
}

// parseRoles reads "NAME = subscribe PATTERN… act PATTERN…", where either list may be left out.
func parseRoles(lines []string) (map[string]auth.Grant, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	roles := map[string]auth.Grant{}
	var faults []error
	for _, line := range lines {
		name, granted, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		_, twice := roles[name]
		g, err := parseGrant(granted)
		switch {
		case !ok || name == "":
			err = fmt.Errorf(`%q is no role such as "viewer = subscribe metrics.>"`, line)
		case twice:
			err = fmt.Errorf("%s stands there twice", name)
		case err != nil:
			err = fmt.Errorf("%s: %w", name, err)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("roles: %w", err))
			continue
		}
		roles[name] = g
	}
	return roles, errors.Join(faults...)
}

func parseGrant(s string) (auth.Grant, error) {
	var g auth.Grant
	var list *[]string
	for _, word := range strings.Fields(s) {
		switch {
		case word == "subscribe":
			list = &g.Subscribe
		case word == "act":
			list = &g.Act
		case list == nil:
			return g, fmt.Errorf("%q is neither subscribe nor act, one of which comes first", word)
		default:
			*list = append(*list, word)
		}
	}
	return g, nil
}
