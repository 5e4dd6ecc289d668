// Package serve makes an edge of a configuration, for the programs that run one.
package serve

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/configs"
	"tidings/edge"
	"tidings/edge/auth"
	"tidings/edge/poll"
	"tidings/edge/web"
)

// Check tells what an edge has against a configuration.
func Check(config configs.Serving) error {
	c := edgeConfig(config, new(bus.Conn), nil, nil) // the line to NATS comes later, and so do the keys
	c.Open = true
	return c.Validate()
}

// Name is the edge's own, as its clients and NATS' monitoring know it: the configured one, or the host's.
func Name(config configs.Serving) string {
	host, _ := os.Hostname()
	return cmp.Or(config.Name, host, "edge")
}

// Line is an edge's line to NATS.
func Line(nats configs.NATS, stream configs.Stream, name string, logger *slog.Logger, registry prometheus.Registerer) bus.Config {
	line := daemon.Bus(nats, stream, name, logger, registry)
	line.Wrap = poll.Quiet
	return line
}

// New makes the edge, with its port open. It serves nothing before its Run. A verifier is not asked by an edge whose auth is
// none, and may be nil only there, or where auth is auto.
func New(config configs.Serving, verifier *auth.Verifier, conn *bus.Conn, logger *slog.Logger, registry prometheus.Registerer) (*edge.Edge, error) {
	if config.GCPercent > 0 {
		debug.SetGCPercent(config.GCPercent)
	}
	if config.MemoryLimit > 0 {
		debug.SetMemoryLimit(int64(config.MemoryLimit))
	}
	c := edgeConfig(config, conn, logger, registry)
	if c.Open = config.Auth == "none" || config.Auth == configs.Auto && verifier == nil; !c.Open && verifier != nil {
		c.Verifier = verifier
	}
	if config.AllowActions {
		c.Actor = conn
	}
	e, err := edge.New(c)
	switch {
	case errors.Is(err, edge.ErrTLS):
		return nil, daemon.WithCode(daemon.ExitConfig, err)
	case err != nil:
		return nil, daemon.Taken(err, "--listen")
	}
	if c.Open {
		warnOpen(logger, e.Addr(), verifier != nil)
	} else {
		logger.Info("auth is tokens: who has none is refused", "listen", e.Addr().String())
	}
	return e, nil
}

func edgeConfig(config configs.Serving, conn *bus.Conn, logger *slog.Logger, registry prometheus.Registerer) edge.Config {
	return edge.Config{
		Listen:           config.Listen,
		Node:             Name(config),
		Bus:              conn,
		TokenCookie:      config.TokenCookie,
		TokenQuery:       config.TokenQuery,
		ExpiryWarning:    orNever(config.ExpiryWarning),
		Heartbeat:        config.Heartbeat,
		HandshakeTimeout: config.HandshakeTimeout,
		SlowTimeout:      config.SlowTimeout,
		Linger:           config.Linger,
		Gather:           orNever(config.Gather),
		DrainWait:        config.DrainWait,
		DrainWindow:      config.DrainWindow,
		DrainGrace:       config.DrainGrace,
		MaxAge:           config.MaxAge,
		Loops:            config.Loops,
		SendBuffer:       int(config.SendBuffer),
		Limits: edge.Limits{
			Connections:           config.Limits.Connections,
			ConnectionsPerAddress: config.Limits.ConnectionsPerAddress,
			HandshakesPerSecond:   config.Limits.HandshakesPerSecond,
			HandshakesPerAddress:  config.Limits.HandshakesPerAddress,
			EventStreams:          config.Limits.EventStreams,
			ConnectionsPerUser:    config.Limits.ConnectionsPerUser,
			ActionsPerUser:        config.Limits.ActionsPerUser,
			ActionsPerSecond:      config.Limits.ActionsPerSecond,
			HeaderBytes:           int(config.Limits.HeaderBytes),
			Headers:               config.Limits.Headers,
			MessagesPerSecond:     config.Limits.MessagesPerSecond,
			MessageBytes:          int(config.Limits.MessageBytes),
			SubscribesPerSecond:   config.Limits.SubscribesPerSecond,
			Subscriptions:         config.Limits.Subscriptions,
			PatternLiterals:       config.Limits.PatternLiterals,
			Replay:                config.Limits.Replay,
			PingsPerSecond:        config.Limits.PingsPerSecond,
			RefreshesPerSecond:    config.Limits.RefreshesPerSecond,
			BadRequests:           config.Limits.BadRequests,
			Recent:                config.Limits.Recent,
			RecentBytes:           int(config.Limits.RecentBytes),
		},
		Origins:        config.Origins,
		TrustedProxies: config.TrustedProxies,
		ProxyProtocol:  config.ProxyProtocol,
		TLS:            security(config.TLS),
		Pages:          web.Handler(),
		Logger:         logger,
		Registerer:     registry,
	}
}

// security is nothing at all without a certificate.
func security(config configs.TLS) edge.TLS {
	if config.Cert == "" {
		return edge.TLS{}
	}
	return edge.TLS(config)
}

// orNever is what stands for a time that means "never" at 0 in a configuration: an edge's 0 is the default.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// warnOpen says out loud that nobody is asked who they are, and that keys which may be there change nothing about that.
func warnOpen(logger *slog.Logger, address net.Addr, keys bool) {
	if keys {
		logger.Warn("auth is none, so that nobody is asked for a token, although there are keys to verify some with; --auth tokens has them asked")
	}
	if daemon.IsLoopback(address) {
		logger.Info("auth is none: whoever is on this machine may subscribe to everything", "listen", address.String())
		return
	}
	logger.Warn("auth is none, and the address is not this machine's alone: WHOEVER REACHES IT MAY SUBSCRIBE TO EVERYTHING; "+
		"keep it behind a proxy that asks who is there, or listen on 127.0.0.1", "listen", address.String())
}
