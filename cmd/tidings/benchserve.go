package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/bus/embedded"
	"tidings/cmd/internal/bench"
	"tidings/cmd/internal/daemon"
	"tidings/cmd/internal/serve"
	"tidings/cmd/internal/verify"
	"tidings/configs"
	"tidings/edge/poll"
)

// benchServeCommand is what `tidings bench` starts as processes of their own: something that serves at a free port of
// this machine until its standard input ends, and writes its address first.
func benchServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "serve",
		Short:  "What the bench measures, as a process",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.WithCode(daemon.ExitUsage, errors.New("there are serve nats, serve edge and serve floor"))
		},
	}
	cmd.AddCommand(serveNATSCommand(), serveEdgeCommand(), serveFloorCommand())
	return cmd
}

const anyPort = "127.0.0.1:0"

func serveNATSCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nats",
		Short: "A NATS with an empty stream",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "tidings-bench-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			nats, err := embedded.Start(embedded.Config{Dir: dir, Listen: anyPort, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), nats.ClientURL())
			ctx, stop := untilInputEnds(cmd.Context(), cmd.InOrStdin())
			defer stop()
			<-ctx.Done()
			return nats.Shutdown()
		},
	}
}

// serveEdgeCommand is an edge as the program edge runs it, configured by the same environment and flags.
func serveEdgeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "edge", Short: "An edge"}
	check := func(config configs.Edge) error {
		return errors.Join(serve.Check(config.Serving), verify.Check(config.Tokens), daemon.CheckBus(config.NATS, config.Stream))
	}
	daemon.Configured(cmd, configs.ForEdge, check, func(cmd *cobra.Command, config configs.Edge) error {
		config.DrainWait, config.DrainWindow = 0, time.Millisecond // there is no load balancer to notice, and no other edge to go to
		logger, registry := daemon.NewLogger(cmd.ErrOrStderr(), config.Log), daemon.NewRegistry()
		conn, err := bus.Connect(cmd.Context(), serve.Line(config.NATS, config.Stream, "edge", logger, registry))
		if err != nil {
			return err
		}
		defer conn.Close()
		verifier, err := verify.New(config.Tokens, logger, registry)
		if err != nil {
			return err
		}
		edge, err := serve.New(config.Serving, verifier, conn, logger, registry)
		if err != nil {
			return err
		}
		return serveUntilInputEnds(cmd, edge, verify.Part(verifier))
	})
	return cmd
}

func serveFloorCommand() *cobra.Command {
	var config bus.Config
	var topic string
	var stream bool
	cmd := &cobra.Command{
		Use:   "floor",
		Short: "The least that a server can do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !stream {
				config.Stream.Manage = bus.ManageOperator
			}
			config.Logger, config.Wrap = slog.New(slog.DiscardHandler), poll.Quiet
			conn, err := bench.ConnectNATS(cmd.Context(), config)
			if err != nil {
				return benchError(err)
			}
			defer conn.Close()
			floor, err := bench.NewFloor(cmd.Context(), conn, anyPort, topic)
			if err != nil {
				return err
			}
			return serveUntilInputEnds(cmd, floor)
		},
	}
	natsFlags(cmd.Flags(), &config)
	cmd.Flags().StringVar(&topic, "topic", "bench", "`TYPE` of the topics that it passes on")
	cmd.Flags().BoolVar(&stream, "stream", false, "make the stream, as an edge does")
	return cmd
}

type server interface {
	Addr() net.Addr
	Run(ctx context.Context) error
}

// serveUntilInputEnds runs a server, after the parts that it needs.
func serveUntilInputEnds(cmd *cobra.Command, s server, needs ...daemon.Part) error {
	fmt.Fprintln(cmd.OutOrStdout(), s.Addr())
	ctx, stop := untilInputEnds(cmd.Context(), cmd.InOrStdin())
	defer stop()
	return daemon.Run(ctx, slog.New(slog.DiscardHandler), append(needs, daemon.Part{Name: "serve", Run: s.Run})...)
}

// untilInputEnds is a context that ends when nobody holds the other end of the input any more. The goroutine that
// reads it lives as long as the process: nothing makes such a read return.
func untilInputEnds(ctx context.Context, input io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	return ctx, cancel
}
