package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/bus/embedded"
	"tidings/cmd/internal/daemon"
	"tidings/cmd/internal/publish"
	"tidings/cmd/internal/serve"
	"tidings/cmd/internal/verify"
	"tidings/configs"
)

// runCommand is `tidings run`. invoked is how the program was called, for the advice that it prints.
func runCommand(invoked string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Everything in one process: NATS, an edge and a publisher",
		Long: `Starts NATS, an edge and a publisher in this process and prints an address to open. It needs no configuration, and no
Docker: containers are shown once there is one.

What NATS retains is kept in --data-dir. Other publishers, and ` + "`tidings pub`" + `, reach NATS at --nats-listen: by default at
127.0.0.1:4222, or not at all if something else has that port.

Every setting has a key in a YAML file (--config; --print-config shows all of them, explained), and a name in the
environment: nats.listen is TIDINGS_NATS_LISTEN. Flags win over the environment, that over the file.

The operator's port (--admin) has /livez, /readyz with reasons, and /metrics for Prometheus.
Ctrl-C or SIGTERM stops cleanly; a second one at once.

` + daemon.ExitCodes,
		Example: `  tidings run
  tidings run --listen :8080 --data-dir /var/lib/tidings
  tidings run --nats-listen :4222     publishers of other hosts: publisher --nats nats://this-host:4222
  tidings run --print-config > tidings.yaml && tidings run --config tidings.yaml`,
	}
	check := func(config configs.Tidings) error {
		return errors.Join(
			serve.Check(config.Serving),
			verify.Check(config.Tokens),
			publish.Check(config.Reading),
			daemon.CheckBus(ownLine(config.NATS), config.Stream),
		)
	}
	daemon.Configured(cmd, configs.ForTidings, check, func(cmd *cobra.Command, config configs.Tidings) error {
		return everything(cmd, config, invoked)
	})
	return cmd
}

// everything runs until the command's context ends. What others need starts first and stops last.
func everything(cmd *cobra.Command, config configs.Tidings, invoked string) error {
	ctx := cmd.Context()
	logger := daemon.NewLogger(cmd.ErrOrStderr(), config.Log)
	registry := daemon.NewRegistry()

	port, err := daemon.ListenAdmin(ctx, config.Admin)
	if err != nil {
		return err
	}
	dir, err := dataDir(config.DataDir, logger)
	if err != nil {
		return err
	}
	nats, err := startNATS(ctx, config.NATS, dir, logger)
	if err != nil {
		return err
	}
	defer func() {
		if err := nats.Shutdown(); err != nil {
			logger.Error("NATS did not stop cleanly", "error", err)
		}
	}()

	line := daemon.Bus(ownLine(config.NATS), config.Stream, serve.Name(config.Serving), logger, registry)
	line.InProcess = nats
	conn, err := bus.Connect(context.WithoutCancel(ctx), line)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := awaitStream(ctx, conn); err != nil || ctx.Err() != nil {
		return err
	}
	verifier, err := verify.New(config.Tokens, logger, registry)
	if err != nil {
		return err
	}
	config.Actions.AuditFile = cmp.Or(config.Actions.AuditFile, filepath.Join(dir, "actions.jsonl"))
	publisher, err := publish.New(config.Reading, verifier, conn, logger, registry)
	if err != nil {
		return err
	}
	edge, err := serve.New(config.Serving, verifier, conn, logger, registry)
	if err != nil {
		return err
	}
	admin := daemon.NewAdmin(daemon.AdminConfig{
		Listener: port,
		Gatherer: registry,
		Ready:    daemon.Readiness(ctx, edge.Ready, func() []string { return verify.Ready(verifier) }, daemon.Reason(publisher.Ready)),
		Pprof:    config.Admin.Pprof,
		Logger:   logger,
	})
	welcome := banner{program: invoked, edge: edge.Addr(), secure: config.TLS.Cert != "", nats: nats.ClientURL(), data: dir}
	if port != nil {
		welcome.admin = port.Addr()
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), welcome); err != nil {
		logger.Debug("nobody reads the banner", "error", err)
	}
	return daemon.Run(ctx, logger,
		daemon.Part{Name: "admin", Run: admin.Run},
		verify.Part(verifier),
		daemon.Part{Name: "serve", Run: edge.Run},
		publish.Part(publisher),
	)
}

// streamPatience bounds how long the server in the process may take to open the stream: its index may need building anew.
const streamPatience = 30 * time.Second

// awaitStream waits for the stream, so that the first to open the page finds something there.
func awaitStream(ctx context.Context, conn *bus.Conn) error {
	limited, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	err := conn.WaitReady(limited)
	if ctx.Err() != nil {
		return nil // stopped as asked
	}
	return err
}

// ownLine is the line to a NATS in the process: no servers.
func ownLine(nats configs.OwnNATS) configs.NATS {
	return configs.NATS{Prefix: nats.Prefix, MaxPayload: nats.MaxPayload}
}

// usualNATS is what an address of "auto" means, if it is free.
const usualNATS = "127.0.0.1:4222"

// startNATS runs the server in the process, with its data in dir.
func startNATS(ctx context.Context, config configs.OwnNATS, dir string, logger *slog.Logger) (*embedded.Server, error) {
	server := embedded.Config{Dir: dir, Logger: logger}
	if !configs.Off(config.Monitor) {
		server.Monitor = config.Monitor
	}
	switch {
	case config.Listen == configs.Auto:
		server.Listen = ifFree(ctx, usualNATS, logger)
	case !configs.Off(config.Listen):
		server.Listen = config.Listen
	}
	nats, err := embedded.Start(server)
	switch {
	case err == nil:
		return nats, nil
	case daemon.IsTaken(err):
		return nil, daemon.Taken(err, "--nats-listen")
	}
	return nil, daemon.WithCode(daemon.ExitUnavailable, fmt.Errorf("%w\nits data is in %s: stop what uses that, or choose another with --data-dir", err, dir))
}

// ifFree returns the address, or nothing if something listens there.
func ifFree(ctx context.Context, address string, logger *slog.Logger) string {
	listener, err := daemon.Listen(ctx, address, "--nats-listen")
	if err != nil {
		logger.Info("NATS is for this process alone: something else has its usual port", "address", address)
		return ""
	}
	_ = listener.Close()
	return address
}
