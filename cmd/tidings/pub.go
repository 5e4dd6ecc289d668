package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
)

// maxMessage bounds one message, in bytes, as NATS does by default.
const maxMessage = 1 << 20

func pubCommand() *cobra.Command {
	var config bus.Config
	var ttl, timeout time.Duration
	cmd := &cobra.Command{
		Use:   "pub TOPIC [JSON|-]",
		Short: "Publish messages to a topic",
		Long: `Publishes a JSON value, or each of those on standard input (with -, or without JSON), straight to NATS, and prints
the place that the stream gave each of them, one a line. What is no JSON is not sent.

` + "`tidings run`" + ` lets it in at nats://127.0.0.1:4222 (see its --nats-listen).

` + toolExits,
		Example: `  tidings pub demo.hello '{"text":"hi"}'
  jq -c '.[]' rows.json | tidings pub import.rows -
  tidings pub --ttl 30s lights.kitchen true         it lapses after 30 s; subscribers see it gone`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, err := bus.ParseTopic(args[0])
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			input := cmd.InOrStdin()
			if len(args) == 2 && args[1] != "-" {
				input = strings.NewReader(args[1])
			} else if f, ok := input.(*os.File); ok && daemon.IsTerminal(f) {
				fmt.Fprintln(cmd.ErrOrStderr(), "reading JSON from standard input; ctrl-D ends it")
			}
			config.Stream.Manage = bus.ManageOperator
			config.Logger = slog.New(slog.DiscardHandler)
			conn, err := bus.Connect(cmd.Context(), config)
			if err != nil {
				return daemon.WithCode(daemon.ExitUsage, err)
			}
			defer conn.Close()
			return sendAll(cmd.Context(), conn, topic, input, cmd.OutOrStdout(), bus.PublishOptions{TTL: ttl}, timeout)
		},
	}
	flags := cmd.Flags()
	natsFlags(flags, &config)
	flags.DurationVar(&ttl, "ttl", 0, "the message lapses after this `TIME`, unless another follows; 0: it does not")
	flags.DurationVar(&timeout, "timeout", 5*time.Second, "give up a message that is not taken within this `TIME`")
	return cmd
}

// sendAll sends each JSON value of input and waits until the stream has it, before it takes the next.
func sendAll(ctx context.Context, conn *bus.Conn, topic bus.Topic, input io.Reader, stdout io.Writer, options bus.PublishOptions, timeout time.Duration) error {
	values := newValues(input)
	for number := 1; ; number++ {
		value, err := values.next()
		switch {
		case errors.Is(err, io.EOF) && number == 1:
			return daemon.WithCode(daemon.ExitData, errors.New("there is no JSON to publish"))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return daemon.WithCode(daemon.ExitData, fmt.Errorf("message %d: %w", number, err))
		}
		seq, err := send(ctx, conn, topic, value, options, timeout)
		if err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
		if _, err := fmt.Fprintln(stdout, seq); err != nil {
			return err
		}
	}
}

// send waits for NATS as well: it is connected to in the background.
func send(ctx context.Context, conn *bus.Conn, topic bus.Topic, value []byte, options bus.PublishOptions, timeout time.Duration) (uint64, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := conn.WaitReady(limited)
	ready := err == nil
	var seq uint64
	if ready {
		seq, err = conn.Publish(limited, topic, value, options)
	}
	switch {
	case err == nil:
		return seq, nil
	case errors.Is(err, bus.ErrTooLarge):
		return 0, daemon.WithCode(daemon.ExitData, err)
	case ctx.Err() != nil:
		return 0, daemon.WithCode(daemon.ExitUnavailable, errors.New("stopped before the stream had it"))
	case ready && limited.Err() != nil:
		return 0, daemon.WithCode(daemon.ExitUnavailable, fmt.Errorf("%w\nNATS is there and has not answered: may this login publish to that topic? --nats-nkey and its like say who it is", err))
	case limited.Err() != nil, errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrNoStream):
		return 0, daemon.WithCode(daemon.ExitUnavailable, fmt.Errorf("%w\nstart one with `tidings run`, or name another with --nats", err))
	}
	return 0, err
}

// values reads JSON values one after the other, none larger than a message may be.
type values struct {
	input   *io.LimitedReader
	decoder *json.Decoder
}

func newValues(input io.Reader) *values {
	limited := &io.LimitedReader{R: input}
	return &values{input: limited, decoder: json.NewDecoder(limited)}
}

// next returns io.EOF when there are no more.
func (v *values) next() ([]byte, error) {
	v.input.N = 2 * maxMessage // the decoder reads ahead
	var value json.RawMessage
	err := v.decoder.Decode(&value)
	var syntax *json.SyntaxError
	switch {
	case v.input.N <= 0 || len(value) > maxMessage:
		return nil, fmt.Errorf("is larger than %d bytes", maxMessage)
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("is no JSON (a text needs quotes of its own: '\"hello\"'): %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("is no JSON: it ends in the middle")
	case err != nil:
		return nil, err
	case !utf8.Valid(value):
		return nil, errors.New("is no JSON: it is not UTF-8")
	}
	return bytes.Clone(value), nil
}

// environment is a variable of the environment, or otherwise if that is empty.
func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
