package publisher

import (
	"context"
	"time"
)

// Source is one origin of readings: a host, a container engine. The runner
// gives each a goroutine and a beat of its own.
type Source interface {
	// Name is a constant. It labels the source's metrics and log lines, so no
	// two sources of one publisher have the same.
	Name() string
	// Interval is the time between two beats, asked once, at the start.
	Interval() time.Duration
	// Read does one beat and emits what it found. It is never called twice at
	// once, and a Read that outlasts the interval misses beats rather than
	// piling them up. It should return when ctx ends.
	Read(ctx context.Context, emit Emit) error
}

// Watcher is a Source that also has news between beats.
type Watcher interface {
	Source
	// Watch emits news until ctx ends or it breaks. A broken watch is started
	// again after a pause that grows with each break. Watch and Read run on
	// goroutines of their own, at the same time.
	Watch(ctx context.Context, emit Emit) error
}

// Emit hands a reading on. It marshals the payload before it returns, so the
// caller may change it afterwards; it never waits for the network, and any
// goroutine may call it.
type Emit func(Reading)

// Reading is one message to be.
type Reading struct {
	// Type is the topic's first token; the host's token is its second.
	Type string
	// Payload is marshalled to JSON.
	Payload any
}

// Runtime is a container engine found on the host, as the host payload names it.
type Runtime struct {
	Name    string `json:"name"` // docker, podman, kubernetes
	Version string `json:"version,omitempty"`
}
