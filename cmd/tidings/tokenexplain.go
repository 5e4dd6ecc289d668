package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/cmd/internal/verify"
	"tidings/configs"
	"tidings/edge/auth"
)

func tokenExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [FILE|-]",
		Short: "Say what a token says, and whether it is good",
		Long: `Reads a token from FILE, or from standard input, and says in words whom it is for, until when it is good, and what it grants.

With keys it also says whether an edge takes it, and what roles come to: give it the same --config, flags and environment as
your edge. Without, it can only tell what the token says of itself.

` + tokenExits,
		Example: `  tidings token explain < token
  tidings token explain --config edge.yaml token
  tidings token explain --token-jwks https://login.example.org/jwks.json token`,
		Args: cobra.MaximumNArgs(1),
	}
	configs.ForTokens.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := configs.ForTokens.Load(cmd.Flags(), func(c configs.TokensAlone) error { return verify.Check(c.Tokens) })
		if err != nil {
			return err
		}
		path := append(args, "-")[0]
		if noToken(path) != nil {
			return daemon.WithCode(daemon.ExitUsage, errors.New("that is a token itself, which whoever sees the command line can use: "+
				"put it into a file and give that one's name, or write it to standard input"))
		}
		file, err := input(cmd, path, "a token")
		if err != nil {
			return err
		}
		defer file.Close()
		token, err := tokenFrom(file)
		if err != nil {
			return daemon.WithCode(daemon.ExitData, err)
		}
		return explain(cmd.Context(), cmd.OutOrStdout(), token, config.Tokens)
	}
	return cmd
}

// explain writes what a token says, and then, as its error as well, whether it is good.
func explain(ctx context.Context, out io.Writer, token string, config configs.Tokens) error {
	header, claims, err := auth.Peek(token)
	if err != nil {
		return daemon.WithCode(daemon.ExitData, err)
	}
	e := explanation{out: out}
	e.line("signed", "with %s%s", plain(header["alg"]), e.named(header["kid"]))
	e.claim("for", claims[config.SubjectClaim])
	e.claim("issuer", claims["iss"])
	e.claim("audience", claims["aud"])
	e.times(claims)
	verifier, err := verify.New(config, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	if verifier == nil {
		if s, err := auth.PeekGrants(claims[config.GrantsClaim]); err == nil {
			e.grants(s)
		} else {
			e.line("grants", "nothing, for its claim %s %v", config.GrantsClaim, err)
		}
		e.claim("roles", claims[config.RoleClaim])
		e.line("verdict", "unknown: there are no keys to verify it with; --config, --token-secret-file, --token-key-file or --token-jwks name some")
		return e.err
	}
	session, err := verifyOnce(ctx, verifier, token)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		err = daemon.WithCode(daemon.ExitUnavailable, err)
	case err == nil:
		e.grants(session)
		e.line("verdict", "good%s", late(session))
	}
	return errors.Join(err, e.err)
}

// late says why a token is good whose time is over.
func late(s *auth.Session) string {
	if s.Expires.IsZero() || time.Now().Before(s.Expires) {
		return ""
	}
	return " for a moment, since clocks may differ (tokens.leeway)"
}

// verifyOnce verifies with issuers' keys too, which are fetched for it.
func verifyOnce(ctx context.Context, v *auth.Verifier, token string) (*auth.Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) })
	defer running.Wait()
	defer cancel()
	return v.Verify(ctx, token)
}

// explanation writes lines of a word and what it is; err is the first that went wrong.
type explanation struct {
	out io.Writer
	err error
}

func (e *explanation) line(word, format string, args ...any) {
	_, err := fmt.Fprintf(e.out, "%-11s %s\n", word, fmt.Sprintf(format, args...))
	e.err = errors.Join(e.err, err)
}

// claim writes a claim that is there.
func (e *explanation) claim(word string, value any) {
	if value != nil {
		e.line(word, "%s", plain(value))
	}
}

func (e *explanation) named(kid any) string {
	if kid == nil {
		return ""
	}
	return ", key " + plain(kid)
}

func (e *explanation) times(claims map[string]any) {
	e.when("issued", claims["iat"])
	e.when("not before", claims["nbf"])
	if claims["exp"] == nil {
		e.line("expires", "never")
		return
	}
	e.when("expires", claims["exp"])
}

func (e *explanation) when(word string, claim any) {
	number, ok := claim.(json.Number)
	seconds, err := number.Float64()
	switch {
	case claim == nil:
		return
	case !ok || err != nil || seconds < 0 || seconds > 1<<40:
		e.line(word, "%s, which is no time", plain(claim))
		return
	}
	at := time.UnixMilli(int64(seconds * 1000))
	left, shown := time.Until(at).Round(time.Second), at.UTC().Format(time.RFC3339)
	switch {
	case left < 0:
		e.line(word, "%v ago, %s", -left, shown)
	case left == 0:
		e.line(word, "now, %s", shown)
	default:
		e.line(word, "in %v, %s", left, shown)
	}
}

// grants says what a session may do, in words.
func (e *explanation) grants(s *auth.Session) {
	if len(s.Subscribe)+len(s.Act) == 0 {
		e.line("may", "do nothing")
	}
	for _, p := range s.Subscribe {
		e.line("may", "subscribe to %s: %s", p, topicsIn(p))
	}
	for _, p := range s.Act {
		e.line("may", "act on %s: %s", p, actionsIn(p))
	}
}

// topicsIn says which topics a pattern stands for.
func topicsIn(p bus.Pattern) string {
	head, open := strings.CutSuffix(string(p), ">")
	switch head = strings.TrimSuffix(head, "."); {
	case p.IsTopic():
		return "that topic"
	case open && head == "":
		return "all topics"
	case open && !strings.Contains(head, "*"):
		return "all topics that begin with " + head
	case open:
		return "all topics that begin so, with any word for *"
	}
	return "all such topics, with any one word for *"
}

// actionsIn says what a pattern of actions lets one do.
func actionsIn(p auth.ActPattern) string {
	tokens := append(strings.Split(string(p), "."), ">", ">")
	if i := len(tokens) - 3; tokens[i] == ">" {
		tokens = append(tokens[:i], ">", ">", ">")
	}
	word := func(token, all string) string {
		if token == "*" || token == ">" {
			return all
		}
		return token
	}
	return word(tokens[2], "do anything to") + " " + word(tokens[1], "any container") + " on " + word(tokens[0], "any host")
}

// plain writes a claim as JSON, which is fit for a terminal whatever is in it; texts without their quotes where that is safe.
func plain(claim any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(claim) != nil {
		return "something else"
	}
	quoted := strings.TrimSuffix(text.String(), "\n")
	if s, ok := claim.(string); ok && quoted == `"`+s+`"` && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x7f && r < 0xa0 {
			return '?' // control characters that JSON lets pass
		}
		return r
	}, quoted)
}
