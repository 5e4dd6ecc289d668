package daemon

import (
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
		Servers:    nats.Servers,
		Name:       name,
		Prefix:     nats.Prefix,
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
	return Bus(nats, stream, "", nil, nil).Validate()
}
