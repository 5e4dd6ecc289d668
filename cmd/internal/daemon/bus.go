package daemon

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/configs"
)

// Bus is the line to NATS that a configuration describes.
func Bus(nats configs.NATS, stream configs.Stream, name string, logger *slog.Logger, registry prometheus.Registerer) bus.Config {
	manage := bus.ManageAuto
	if !stream.Manage {
		manage = bus.ManageOperator
	}
	return bus.Config{
		Servers: nats.Servers,
		Name:    name,
		Login: bus.Login{
			Credentials:  nats.Credentials,
			NKey:         nats.NKey,
			User:         nats.User,
			Password:     nats.Password,
			PasswordFile: nats.PasswordFile,
		},
		TLS: bus.TLS{
			CA:             nats.TLS.CA,
			Cert:           nats.TLS.Cert,
			Key:            nats.TLS.Key,
			ServerName:     nats.TLS.ServerName,
			HandshakeFirst: nats.TLS.HandshakeFirst,
		},
		Prefix:     nats.Prefix,
		API:        nats.API,
		MaxPayload: int(nats.MaxPayload),
		Stream: bus.StreamConfig{
			Name:        stream.Name,
			MaxAge:      stream.MaxAge,
			MaxPerTopic: stream.MaxPerTopic,
			MaxBytes:    int64(stream.MaxBytes),
			Storage:     stream.Storage,
			Replicas:    stream.Replicas,
			Manage:      manage,
		},
		Logger:     logger,
		Registerer: registry,
	}
}

// CheckBus tells what the line to NATS has against a configuration.
func CheckBus(nats configs.NATS, stream configs.Stream) error {
	line := Bus(nats, stream, "", nil, nil)
	kept := bus.Config{Stream: line.Stream}
	line.Stream = bus.StreamConfig{}
	return errors.Join(configs.Under("nats", line.Validate()), kept.Validate())
}
