// Command edge holds the clients' connections of a cluster and relays to them what comes from NATS.
package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/cmd/internal/serve"
	"tidings/cmd/internal/verify"
	"tidings/configs"
)

func main() { daemon.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := &cobra.Command{
		Use:   "edge",
		Short: "Holds the clients' connections and relays what comes from NATS",
		Long: `An edge of Tidings: browsers and programs connect to it by WebSocket (/ws) and subscribe to topics; it relays what
publishers publish on NATS. It keeps nothing: run as many as you like on one NATS, behind any load balancer.

Every setting has a key in a YAML file (--config; --print-config shows all of them, explained), and a name in the
environment: limits.connections is TIDINGS_LIMITS_CONNECTIONS. Flags win over the environment, that over the file.

The operator's port (--admin) has /livez, /readyz with reasons, and /metrics for Prometheus.
SIGTERM has load balancers notice first (drain_wait), then hands the clients over to other edges and ends; a second one ends
at once.

Who connects has to show a token. Say with which keys tokens are made: tokens.secret_files, tokens.key_files or tokens.jwks;
` + "`tidings token`" + ` makes keys and tokens to try it with. --auth none lets everybody in.

` + daemon.ExitCodes,
		Example: `  edge --nats nats://nats-0:4222,nats://nats-1:4222 --listen :8080 --admin :8081 --token-secret-file secret
  edge --token-jwks 'https://login.example.org https://login.example.org/.well-known/jwks.json'
  edge --print-config > edge.yaml     then change it, and start with
  edge --config edge.yaml`,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	check := func(config configs.Edge) error {
		return errors.Join(serve.Check(config.Serving), verify.Check(config.Tokens), daemon.CheckBus(config.NATS, config.Stream))
	}
	daemon.Configured(cmd, configs.ForEdge, check, start)
	return daemon.Execute(ctx, cmd, args, stdin, stdout, stderr)
}

// start runs an edge until the command's context ends.
func start(cmd *cobra.Command, config configs.Edge) error {
	ctx := cmd.Context()
	logger := daemon.NewLogger(cmd.ErrOrStderr(), config.Log)
	registry := daemon.NewRegistry()

	port, err := daemon.ListenAdmin(ctx, config.Admin)
	if err != nil {
		return err
	}
	conn, err := bus.Connect(context.WithoutCancel(ctx), serve.Line(config.NATS, config.Stream, serve.Name(config.Serving), logger, registry))
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
	admin := daemon.NewAdmin(daemon.AdminConfig{
		Listener: port,
		Gatherer: registry,
		Ready:    daemon.Readiness(ctx, edge.Ready, func() []string { return verify.Ready(verifier) }),
		Pprof:    config.Admin.Pprof,
		Logger:   logger,
	})
	logger.Info("started", "admin", admin.Address(), "version", daemon.Version())
	return daemon.Run(ctx, logger,
		daemon.Part{Name: "admin", Run: admin.Run},
		verify.Part(verifier),
		daemon.Part{Name: "serve", Run: edge.Run},
	)
}
