package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/edge/auth"
	"tidings/edge/auth/mint"
)

// tokenRequest is the token that is asked for.
type tokenRequest struct {
	key, algorithm, kid string
	subject, issuer     string
	audience            []string
	subscribe, act      []string
	roles               []string
	roleClaim           string
	expires             time.Duration
}

func tokenMakeCommand() *cobra.Command {
	var r tokenRequest
	cmd := &cobra.Command{
		Use:   "make --key FILE",
		Short: "Make a token to try things out",
		Long: `Signs a token with a secret or a private key and prints it, and nothing else, on standard output.

--subscribe takes patterns of topics: 'metrics.>' or 'containers.web-1'. --act takes patterns of HOST.CONTAINER.ACTION: 'web-1.*.restart',
or 'web-1.api.>' for all that can be done to one container. Quote them from the shell.

` + tokenExits,
		Example: `  tidings token make --key secret --sub ada --subscribe 'metrics.>' --act 'web-1.*.restart' > token
  tidings token make --key signing.pem --kid 2026 --iss https://login.example.org --aud tidings --role viewer --expires 10m
  vault read -field=secret app/jwt | tidings token make --key - --role admin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			claims, err := r.claims(time.Now())
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			file, err := input(cmd, r.key, "a key")
			if err != nil {
				return err
			}
			defer file.Close()
			content, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
			if err != nil {
				return err
			}
			key, err := mint.ReadKey(content)
			if err != nil {
				return daemon.WithCode(daemon.ExitData, fmt.Errorf("--key %s: %w", r.key, err))
			}
			token, err := key.Sign(r.algorithm, r.kid, claims)
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, fmt.Errorf("--algorithm: %w", err))
			}
			if len(r.subscribe)+len(r.act)+len(r.roles) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "this token grants nothing: --subscribe, --act and --role do")
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&r.key, "key", "", "`FILE` with a secret, or a private key in PEM; -: standard input")
	flags.StringVar(&r.subject, "sub", "", "`WHO` the token is for")
	flags.StringArrayVar(&r.subscribe, "subscribe", nil, "`PATTERN` that it may subscribe to; may be given several times")
	flags.StringArrayVar(&r.act, "act", nil, "`HOST.CONTAINER.ACTION` that it may do; may be given several times")
	flags.StringArrayVar(&r.roles, "role", nil, "`ROLE`, for edges that know what it may do; may be given several times")
	flags.StringVar(&r.roleClaim, "role-claim", "role", "`CLAIM` that roles stand in; realm_access.roles is roles within realm_access")
	flags.DurationVar(&r.expires, "expires", time.Hour, "it is good for this `TIME`; 0: for ever, which edges refuse unless told otherwise")
	flags.StringVar(&r.issuer, "iss", "", "`ISSUER` that it is of")
	flags.StringArrayVar(&r.audience, "aud", nil, "`AUDIENCE` that it is for; may be given several times")
	flags.StringVar(&r.algorithm, "algorithm", "", "`ALG` to sign with; default: HS256, RS256, or the only one of the key")
	flags.StringVar(&r.kid, "kid", "", "`NAME` of the key, for edges that have several")
	_ = cmd.MarkFlagRequired("key")
	return cmd
}

// claims are what the token says. All faults are told at once.
func (r tokenRequest) claims(now time.Time) (map[string]any, error) {
	claims := map[string]any{"iat": now.Unix()}
	var faults []error
	for _, s := range r.subscribe {
		if _, err := bus.ParsePattern(s); err != nil {
			faults = append(faults, fmt.Errorf("--subscribe: %w", err))
		}
	}
	for _, s := range r.act {
		p, err := auth.ParseActPattern(s)
		if err == nil {
			err = p.CheckVerb()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("--act: %w", err))
		}
	}
	if r.expires < 0 {
		faults = append(faults, errors.New("--expires: cannot be negative"))
	}
	if r.expires > 0 {
		claims["exp"] = now.Add(r.expires).Unix()
	}
	for name, value := range map[string]string{"sub": r.subject, "iss": r.issuer} {
		if value != "" {
			claims[name] = value
		}
	}
	if len(r.audience) > 0 {
		claims["aud"] = r.audience
	}
	granted := map[string]any{}
	if len(r.subscribe) > 0 {
		granted["subscribe"] = r.subscribe
	}
	if len(r.act) > 0 {
		granted["act"] = r.act
	}
	if len(granted) > 0 {
		claims["tidings"] = granted
	}
	if len(r.roles) > 0 {
		faults = append(faults, nest(claims, r.roleClaim, r.roles))
	}
	return claims, errors.Join(faults...)
}

// nest puts a value where a path with dots leads.
func nest(claims map[string]any, path string, value any) error {
	first, rest, more := strings.Cut(path, ".")
	switch inner, taken := claims[first]; {
	case first == "":
		return fmt.Errorf("--role-claim: %q has an empty name", path)
	case !more && !taken:
		claims[first] = value
		return nil
	case !taken:
		inner = map[string]any{}
		claims[first] = inner
		fallthrough
	default:
		object, ok := inner.(map[string]any)
		if !ok || !more {
			return fmt.Errorf("--role-claim: %q says something else already", first)
		}
		return nest(object, rest, value)
	}
}
