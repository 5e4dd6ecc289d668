// Command publisher publishes a host's metrics and containers on NATS.
package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/cmd/internal/publish"
	"tidings/cmd/internal/verify"
	"tidings/configs"
	"tidings/edge/auth"
)

func main() { daemon.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := &cobra.Command{
		Use:   "publisher",
		Short: "Publishes a host's metrics and containers on NATS",
		Long: `A publisher of Tidings: one runs on each host, reads its metrics and what Docker or Podman run there, and publishes
that on NATS, where edges take it from. Neither NATS nor Docker being there yet is an error: it waits for both.

Actions on containers are off. With --actions it does those in actions.verbs, for whoever shows a token that grants them; it
verifies the token itself, so give it the keys that the edges have, and an audit file.

In a container, mount the host's /proc, /sys and / somewhere and say where: host.proc, host.sys, host.root.

Every setting has a key in a YAML file (--config; --print-config shows all of them, explained), and a name in the
environment: host.proc is TIDINGS_HOST_PROC. Flags win over the environment, that over the file.

The operator's port (--admin) has /livez, /readyz with reasons, and /metrics for Prometheus.
SIGTERM publishes what is due and ends; a second one ends at once.

` + daemon.ExitCodes,
		Example: `  publisher --nats nats://nats-0:4222 --host web-1.example.org
  publisher --docker-host unix:///run/podman/podman.sock
  publisher --actions --audit-file /var/lib/tidings/actions.jsonl --token-secret-file secret
  publisher --print-config > publisher.yaml     then change it, and start with
  publisher --config publisher.yaml`,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	check := func(config configs.Publisher) error {
		return errors.Join(publish.Check(config.Reading), verify.Check(config.Tokens), daemon.CheckBus(config.NATS, config.Stream))
	}
	daemon.Configured(cmd, configs.ForPublisher, check, start)
	return daemon.Execute(ctx, cmd, args, stdin, stdout, stderr)
}

// start runs a publisher until the command's context ends.
func start(cmd *cobra.Command, config configs.Publisher) error {
	ctx := cmd.Context()
	logger := daemon.NewLogger(cmd.ErrOrStderr(), config.Log)
	registry := daemon.NewRegistry()

	port, err := daemon.ListenAdmin(ctx, config.Admin)
	if err != nil {
		return err
	}
	line := daemon.Bus(config.NATS, config.Stream, publish.Name(config.Reading), logger, registry)
	line.Inbox = publish.Inbox(line.Prefix, config.Reading)
	conn, err := bus.Connect(context.WithoutCancel(ctx), line)
	if err != nil {
		return err
	}
	defer conn.Close()
	var verifier *auth.Verifier
	if config.Actions.Enabled { // nobody else shows a token here
		if verifier, err = verify.New(config.Tokens, logger, registry); err != nil {
			return err
		}
	}
	publisher, err := publish.New(config.Reading, verifier, conn, logger, registry)
	if err != nil {
		return err
	}
	admin := daemon.NewAdmin(daemon.AdminConfig{
		Listener: port,
		Gatherer: registry,
		Ready:    daemon.Readiness(ctx, daemon.Reason(publisher.Ready)),
		Pprof:    config.Admin.Pprof,
		Logger:   logger,
	})
	logger.Info("started", "admin", admin.Address(), "version", daemon.Version())
	return daemon.Run(ctx, logger,
		daemon.Part{Name: "admin", Run: admin.Run},
		verify.Part(verifier),
		publish.Part(publisher),
	)
}
