package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"tidings/publisher"
)

// patience is how long an engine may take to answer. One that takes longer is
// treated as gone, and looked for anew.
const patience = 10 * time.Second

// The names of engines, in Container.Runtime and the host's payload.
const (
	runtimeDocker = "docker"
	runtimePodman = "podman"
)

// engine is a Docker Engine, or Podman speaking Docker's API, that answers.
type engine struct {
	client  *client.Client
	url     string
	runtime publisher.Runtime
	clock   time.Time // the engine's, when it was found
}

// errAbsent: nothing listens at any endpoint.
var errAbsent = errors.New("no container engine in reach")

// findEngine takes the first endpoint where an engine answers.
func findEngine(ctx context.Context, endpoints []endpoint) (*engine, error) {
	absent := true
	var looked []string
	var failures []error
	for _, e := range endpoints {
		found, err := e.dial(ctx)
		if err == nil {
			return found, nil
		}
		looked = append(looked, e.url)
		failures = append(failures, err) // the address is in it
		absent = absent && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED))
	}
	if absent { // which is no fault, and not worth a sentence for each
		return nil, fmt.Errorf("%w: nothing listens at %s", errAbsent, strings.Join(looked, ", "))
	}
	return nil, errors.Join(failures...)
}

func (e endpoint) dial(ctx context.Context) (*engine, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api, err := e.client()
	if err != nil {
		return nil, err
	}
	found := &engine{client: api, url: e.url, clock: time.Now()}
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		found.close()
		return nil, err
	}
	found.runtime = recognise(version.Version, version.Components)
	// A proxy before the engine's socket may well forbid this one; our own clock
	// is the same one as long as the engine is on this machine.
	if info, err := api.Info(ctx, client.InfoOptions{}); err == nil {
		if t, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime); err == nil {
			found.clock = t
		}
	}
	return found, nil
}

// recognise tells Podman from Docker, whatever socket it listens at.
func recognise(version string, components []system.ComponentVersion) publisher.Runtime {
	for _, c := range components {
		if c.Name == "Podman Engine" {
			return publisher.Runtime{Name: runtimePodman, Version: c.Version}
		}
	}
	return publisher.Runtime{Name: runtimeDocker, Version: version}
}

// client is a client of its own transport: the default one keeps two idle
// connections, and would dial for nearly every request of a burst. The scheme
// must be said: the client's copy of a transport has TLS settings in any case,
// and is taken for one that speaks TLS.
func (e endpoint) client() (*client.Client, error) {
	own := &http.Client{
		Transport: &http.Transport{
			MaxIdleConns:        inFlight,
			MaxIdleConnsPerHost: inFlight,
			IdleConnTimeout:     2 * time.Minute,
		},
		CheckRedirect: client.CheckRedirect,
	}
	options := []client.Opt{client.WithHTTPClient(own), client.WithHost(e.url)}
	if e.tls {
		options = append(options, client.WithTLSClientConfigFromEnv(), client.WithScheme("https"))
	} else {
		options = append(options, client.WithScheme("http"))
	}
	return client.New(options...)
}

func (e *engine) close() { _ = e.client.Close() }

// list is all containers, running or not, in brief.
func (e *engine) list(ctx context.Context) ([]container.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	return list.Items, err
}

// inspect is one container in full. The engine answers only once nothing else
// happens to that container: while it starts, that can take seconds.
func (e *engine) inspect(ctx context.Context, id string, within time.Duration) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	inspected, err := e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return inspected.Container, err
}
