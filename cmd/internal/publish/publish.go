// Package publish makes a publisher of a configuration, for the programs that run one.
package publish

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/cmd/internal/daemon"
	"tidings/configs"
	"tidings/edge/auth"
	"tidings/publisher"
	"tidings/publisher/docker"
	"tidings/publisher/host"
)

// Check tells what the publisher's sources have against a configuration.
func Check(config configs.Reading) error {
	return configs.Under("host", hostConfig(config.Host, nil).Validate())
}

// Part is the publisher as a part of a program. That another one has the host's name may pass, so scripts can tell.
func Part(p *publisher.Publisher) daemon.Part {
	return daemon.Part{Name: "publish", Run: func(ctx context.Context) error {
		err := p.Run(ctx)
		if errors.Is(err, publisher.ErrHostTaken) {
			return daemon.WithCode(daemon.ExitUnavailable, err)
		}
		return err
	}}
}

// Name is how NATS' monitoring knows the publisher: after its host.
func Name(config configs.Reading) string {
	return strings.TrimSpace("publisher " + hostConfig(config.Host, nil).Host)
}

// Inbox is where NATS' answers to the publisher arrive. Its host's name is in it, so that each can be kept from the others'.
func Inbox(prefix string, config configs.Reading) string {
	return "_INBOX_" + strings.ReplaceAll(prefix, ".", "_") + "." + bus.HostToken(hostConfig(config.Host, nil).Host)
}

// New makes the publisher with a source for the host and, unless it is switched off, one for its containers, on which it does
// actions if these are switched on. What they refuse, such as an audit file that can't be written, ends the program as a fault of its
// configuration. verifier is of the tokens of who asks for them, and else may be nil.
func New(config configs.Reading, verifier *auth.Verifier, conn *bus.Conn, logger *slog.Logger, registry prometheus.Registerer) (*publisher.Publisher, error) {
	machine := hostConfig(config.Host, logger)
	var sources []publisher.Source
	var actions *publisher.Actions
	if config.Docker.Enabled {
		engine, err := docker.New(docker.Config{
			Host:         config.Docker.Host,
			Interval:     config.Docker.Interval,
			ListInterval: config.Docker.ListInterval,
			Labels:       config.Docker.Labels,
			Logger:       logger,
		})
		if err != nil {
			return nil, err
		}
		machine.Runtimes = engine.Runtimes
		sources = append(sources, engine)
		if config.Actions.Enabled {
			machine.Actions = config.Actions.Verbs
			actions = &publisher.Actions{
				Verbs: verbs(config.Actions.Verbs), Verifier: verifier, Engine: engine,
				AuditFile: config.Actions.AuditFile, AtOnce: config.Actions.AtOnce,
			}
		}
	}
	readings, err := host.New(machine)
	if err != nil {
		return nil, err
	}
	p, err := publisher.New(publisher.Config{
		Bus:        conn,
		Host:       machine.Host,
		Sources:    append(sources, readings...),
		Actions:    actions,
		Grace:      config.Grace,
		Logger:     logger,
		Registerer: registry,
		Version:    daemon.Version(),
	})
	return p, daemon.WithCode(daemon.ExitConfig, err)
}

func verbs(names []string) []bus.Verb {
	verbs := make([]bus.Verb, len(names))
	for i, name := range names {
		verbs[i] = bus.Verb(name)
	}
	return verbs
}

func hostConfig(config configs.Host, logger *slog.Logger) host.Config {
	name := config.Name
	if name == "" {
		name, _ = host.Hostname(config.Root) // host.New says what is wrong with it
	}
	return host.Config{
		Host:     name,
		Proc:     config.Proc,
		Sys:      config.Sys,
		Root:     config.Root,
		Interval: config.Interval,
		Version:  daemon.Version(),
		Logger:   logger,
	}
}
