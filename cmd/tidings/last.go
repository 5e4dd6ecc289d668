package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/edge/wire"
)

func lastCommand() *cobra.Command {
	var address string
	var asJSON bool
	var timeout time.Duration
	var who *bearer
	cmd := &cobra.Command{
		Use:   "last PATTERN",
		Short: "Print the last message of each matching topic, once",
		Long: `Asks an edge for the last retained message of every topic that matches, prints them one a line and ends.
In a pattern * stands for one token, and > at the end for the rest; quote them from the shell.

` + toolExits,
		Example: `  tidings last 'host.*'
  tidings last --json 'metrics.web-1' | jq .payload.load
  tidings last 'containers.*' || echo 'no host has told of containers'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			question, err := lastURL(address, args[0])
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			token, err := who.once(cmd.Context())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return last(ctx, question, token, &printer{w: cmd.OutOrStdout(), json: asJSON})
		},
	}
	urlFlag(cmd, &address)
	who = bearerFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one message a line as it came")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "give up after this `TIME`")
	return cmd
}

// lastURL is where the edge that has its WebSocket at address answers for pattern: beside it, by HTTP.
func lastURL(address, pattern string) (*url.URL, error) {
	p, err := bus.ParsePattern(pattern)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("--url: %q begins with none of ws://, wss://, http://, https://", address)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "ws"), "/") + "/last"
	query := u.Query()
	query.Set("topic", string(p))
	u.RawQuery = query.Encode()
	return u, nil
}

// last prints what the edge answers to who shows this token; empty: none.
func last(ctx context.Context, question *url.URL, token string, out *printer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, question.String(), nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	var fault *url.Error
	if errors.As(err, &fault) {
		return unreachable(question.String(), fault.Err)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	var answer struct {
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read the edge's answer: %w", err)
	}
	for _, raw := range answer.Messages {
		message, err := wire.ParseMessage(raw)
		if err != nil {
			return fmt.Errorf("read the edge's answer: %w", err)
		}
		if err := out.message(message, raw); err != nil {
			return err
		}
	}
	if len(answer.Messages) == 0 {
		return daemon.WithCode(daemon.ExitNothing, errors.New("nothing is retained of topics that match"))
	}
	return nil
}

// refusal reads what an edge says when it does not answer.
func refusal(response *http.Response) error {
	said := struct{ Code, Message string }{Message: "that is no answer of an edge; is --url right?"}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	_ = json.Unmarshal(body, &said)
	err := fmt.Errorf("refused with %s %s: %s", response.Status, said.Code, said.Message)
	if response.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w\n%s", err, howToShow)
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		return daemon.WithCode(daemon.ExitUnavailable, err)
	}
	return err
}
