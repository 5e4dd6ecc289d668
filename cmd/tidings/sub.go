package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"tidings/cmd/internal/daemon"
	"tidings/edge/client"
	"tidings/edge/wire"
)

// defaultURL is where `tidings run` listens.
const defaultURL = "ws://127.0.0.1:8080/ws"

// subscription is what `tidings sub` is asked for.
type subscription struct {
	url      string
	patterns []string
	options  client.Options
	json     bool
	wait     bool
	count    int
	bearer   *bearer
}

func subCommand() *cobra.Command {
	var s subscription
	var since string
	cmd := &cobra.Command{
		Use:   "sub PATTERN…",
		Short: "Print messages as they come, over reconnects",
		Long: `Prints what an edge sends of the topics that match, one message a line: time, topic, place in the stream, payload.
In a pattern * stands for one token, and > at the end for the rest; quote them from the shell.

It starts with the last message of each matching topic whose newest value is what matters (metrics, containers…), and
follows after a lost connection where it had stopped, on any edge. What is lost for good is said in a line of its own.

` + toolExits,
		Example: `  tidings sub 'metrics.*'
  tidings sub --last 10 'container-events.>'           begin with up to 10 retained messages of each topic
  tidings sub --since 1z8k:4031 'container-events.>'   begin after that place; it is printed when sub ends
  tidings sub --json --count 1 'host.web-1' | jq .payload.kernel`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.patterns = args
			if since != "" {
				position, err := wire.ParsePosition(since)
				if err != nil {
					return daemon.WithCode(daemon.ExitUsage, fmt.Errorf("--since: %w", err))
				}
				s.options.Since = &position
			}
			return s.follow(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	urlFlag(cmd, &s.url)
	s.bearer = bearerFlags(cmd)
	flags.BoolVar(&s.json, "json", false, "one message a line as it came, and nothing else on standard output")
	flags.StringVar(&since, "since", "", "`EPOCH:SEQ` after which to begin")
	flags.IntVar(&s.options.Last, "last", 0, "begin with up to `N` retained messages of each topic")
	flags.BoolVar(&s.options.LiveOnly, "live", false, "nothing that is retained, only what comes from now on")
	flags.DurationVar(&s.options.Interval, "interval", 0, "of topics whose newest value matters, no more than one in `TIME`")
	flags.IntVar(&s.count, "count", 0, "end after `N` messages")
	flags.BoolVar(&s.wait, "wait", false, "wait for an edge that is not there yet, rather than end with 75")
	return cmd
}

// urlFlag adds --url, whose default the environment may set.
func urlFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "url", environment("TIDINGS_URL", defaultURL), "`URL` of the edge's WebSocket (TIDINGS_URL)")
}

// follow prints until ctx ends, the count is reached, the reader of the output went away or the edge sends it away.
func (s subscription) follow(ctx context.Context, stdout, stderr io.Writer) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	out := &printer{w: stdout, json: s.json}
	notice := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }

	// The handler's funcs are called one after the other by Run, so they may share these.
	printed, connected := 0, false
	var refused error
	write := func(err error) {
		if err != nil {
			end(err)
		}
	}
	if _, err := s.bearer.once(ctx); err != nil {
		return err // a file that is not there now was misspelt; later on it may come back
	}
	c, err := client.New(client.Config{URL: s.url, Token: s.bearer.source(), Handler: client.Handler{
		Message: func(m client.Message) {
			if ctx.Err() != nil {
				return
			}
			write(out.message(m.Message, m.Raw))
			if printed++; printed == s.count {
				end(errEnough)
			}
		},
		Gap: func(g client.Gap) { write(out.gap(g.Topic, g.GapPayload, g.Raw)) },
		Refused: func(pattern string, err *wire.Error) {
			refused = fmt.Errorf("%s: %w", pattern, err)
			end(refused)
		},
		Connected: func(wire.ConnectedPayload) {
			if connected {
				notice("connected again")
			}
			connected = true
		},
		Disconnected: func(err error, retry time.Duration) {
			if !connected && !s.wait {
				end(unreachable(s.url, err))
				return
			}
			notice("%v; next attempt in %v", err, retry.Round(100*time.Millisecond))
		},
		Status: func(status wire.StatusPayload) {
			if status.Upstream == wire.UpstreamDegraded {
				notice("the edge has lost NATS: values are getting old")
			} else {
				notice("the edge has NATS again")
			}
		},
	}})
	if err != nil {
		return daemon.WithCode(daemon.ExitUsage, err)
	}
	for _, pattern := range s.patterns {
		if err := c.Subscribe(pattern, s.options); err != nil {
			return daemon.WithCode(daemon.ExitUsage, err)
		}
	}

	err = c.Run(ctx)
	if position, ok := s.position(c); ok && !s.json {
		notice("to go on from here: --since %s", position)
	}
	var stayAway *client.RefusedError
	switch cause := context.Cause(ctx); {
	case errors.As(err, &stayAway) && stayAway.Code == wire.Unauthorized:
		return fmt.Errorf("%s: %w\n%s", redact(s.url), err, howToShow)
	case errors.As(err, &stayAway):
		return fmt.Errorf("%s: %w", s.url, err)
	case err != nil:
		return err
	case errors.Is(cause, errEnough), errors.Is(cause, context.Canceled):
		return nil
	default:
		return cause
	}
}

// errEnough ends a subscription that has printed what was asked for.
var errEnough = errors.New("enough messages")

// unreachable says what to do about an edge that is not there, or not to be trusted.
func unreachable(address string, err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w\nthis machine does not trust the certificate of %s: name the file of its authority in SSL_CERT_FILE, or another edge with --url",
			err, redact(address))
	}
	return daemon.WithCode(daemon.ExitUnavailable,
		fmt.Errorf("%w\nno edge at %s: start one with `tidings run`, or name another with --url", err, redact(address)))
}

// redact hides a password or token in a URL.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "that address"
	}
	u.RawQuery = ""
	return u.Redacted()
}

// position is the one from which no pattern misses anything: the least.
func (s subscription) position(c *client.Client) (wire.Position, bool) {
	var least wire.Position
	for i, pattern := range s.patterns {
		position, ok := c.Position(pattern)
		if !ok || i > 0 && position.Epoch != least.Epoch {
			return wire.Position{}, false
		}
		if i == 0 || position.Seq < least.Seq {
			least = position
		}
	}
	return least, true
}
