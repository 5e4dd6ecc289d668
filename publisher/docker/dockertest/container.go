//go:build unix

package dockertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Spec says what a test container is like. It runs the probe, whose doc comment
// lists its arguments.
type Spec struct {
	Name      string   // required
	Arguments []string // of the probe; none: it runs until SIGTERM, idly
	Labels    map[string]string

	Health     bool    // with a health check, twice a second, that fails after Sicken
	Network    bool    // with an interface on a network, else with none
	Publish    string  // a port such as 80/tcp, published on some port of 127.0.0.1; needs Network
	Memory     int64   // limit in bytes
	CPUs       float64 // limit in processors
	Restart    string  // restart policy
	AutoRemove bool
	Grace      int // seconds from SIGTERM to SIGKILL; 0: the engine's usual ones
}

// Container is a test container. Its methods fail the test if the engine does.
type Container struct {
	ID   string // 64 hex digits
	Name string

	engine *Engine
}

// patience is how long an engine may take for one thing, on a machine that is
// busy with all other tests.
const patience = time.Minute

// Run creates a container and starts it.
func (e *Engine) Run(t testing.TB, s Spec) *Container {
	t.Helper()
	c := e.Create(t, s)
	c.Start(t)
	return c
}

// Create creates a container, which is removed when the test ends if it hasn't
// been by then.
func (e *Engine) Create(t testing.TB, s Spec) *Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	config := &container.Config{Image: image, Cmd: s.Arguments, Labels: s.Labels}
	host := &container.HostConfig{
		NetworkMode:   "none",
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(s.Restart)},
		AutoRemove:    s.AutoRemove,
		Resources:     container.Resources{Memory: s.Memory, NanoCPUs: int64(s.CPUs * 1e9)},
	}
	if s.Grace != 0 {
		config.StopTimeout = &s.Grace
	}
	if s.Health {
		config.Healthcheck = &container.HealthConfig{
			Test: []string{"CMD", "/probe", "health"}, Interval: 500 * time.Millisecond, Timeout: 30 * time.Second, Retries: 1,
		}
	}
	if s.Network {
		id, err := e.lan(ctx)
		if err != nil {
			t.Fatalf("make a network: %v", err)
		}
		host.NetworkMode = container.NetworkMode(id)
	}
	if s.Publish != "" {
		port := network.MustParsePort(s.Publish)
		config.ExposedPorts = network.PortSet{port: {}}
		host.PortBindings = network.PortMap{port: {{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1})}}}
	}
	created, err := e.client.ContainerCreate(ctx, client.ContainerCreateOptions{Name: s.Name, Config: config, HostConfig: host})
	if err != nil {
		t.Fatalf("create container %s: %v", s.Name, err)
	}
	c := &Container{ID: created.ID, Name: s.Name, engine: e}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = e.remove(ctx, c.ID) // an engine that is down has its containers removed when it ends
	})
	return c
}

// Start starts it.
func (c *Container) Start(t testing.TB) {
	t.Helper()
	c.do(t, "start", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerStart(ctx, c.ID, client.ContainerStartOptions{})
		return err
	})
}

// Stop has it end by SIGTERM.
func (c *Container) Stop(t testing.TB) {
	t.Helper()
	c.do(t, "stop", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerStop(ctx, c.ID, client.ContainerStopOptions{})
		return err
	})
}

// Kill sends it a signal, such as SIGKILL.
func (c *Container) Kill(t testing.TB, signal string) {
	t.Helper()
	c.do(t, "kill", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: signal})
		return err
	})
}

// Pause freezes its processes.
func (c *Container) Pause(t testing.TB) {
	t.Helper()
	c.do(t, "pause", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerPause(ctx, c.ID, client.ContainerPauseOptions{})
		return err
	})
}

// Unpause thaws them.
func (c *Container) Unpause(t testing.TB) {
	t.Helper()
	c.do(t, "unpause", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
		return err
	})
}

// Rename gives it another name.
func (c *Container) Rename(t testing.TB, name string) {
	t.Helper()
	c.do(t, "rename", func(ctx context.Context) error {
		_, err := c.engine.client.ContainerRename(ctx, c.ID, client.ContainerRenameOptions{NewName: name})
		return err
	})
	c.Name = name
}

// Remove removes it, running or not.
func (c *Container) Remove(t testing.TB) {
	t.Helper()
	c.do(t, "remove", func(ctx context.Context) error { return c.engine.remove(ctx, c.ID) })
}

// Sicken makes its health check fail from now on.
func (c *Container) Sicken(t testing.TB) { t.Helper(); c.exec(t, "sicken") }

func (c *Container) exec(t testing.TB, command string) {
	t.Helper()
	c.do(t, command, func(ctx context.Context) error {
		created, err := c.engine.client.ExecCreate(ctx, c.ID, client.ExecCreateOptions{Cmd: []string{"/probe", command}})
		if err != nil {
			return err
		}
		_, err = c.engine.client.ExecStart(ctx, created.ID, client.ExecStartOptions{Detach: true})
		return err
	})
}

func (c *Container) do(t testing.TB, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s container %s: %v", what, c.Name, err)
	}
}

func (e *Engine) remove(ctx context.Context, id string) error {
	_, err := e.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // gone, or being removed
		return nil
	}
	return err
}

// lan makes the network of the containers that have one. Engines of several
// test processes can't know of each other's, so its addresses are drawn by lot.
func (e *Engine) lan(ctx context.Context) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var failures []error
	for e.network == "" && len(failures) < 5 {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + rand.N(128)), byte(rand.N(256)), 0}), 24)
		created, err := e.client.NetworkCreate(ctx, "lan", client.NetworkCreateOptions{
			Driver: "bridge", IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}},
		})
		if err != nil {
			failures = append(failures, err)
			continue
		}
		e.network = created.ID
	}
	if e.network == "" {
		return "", errors.Join(failures...)
	}
	return e.network, nil
}

// clean removes all containers, and the network, whose interface outlives the
// engine.
func (e *Engine) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var faults []error
	for _, c := range list.Items {
		faults = append(faults, e.remove(ctx, c.ID))
	}
	if e.network != "" {
		_, err := e.client.NetworkRemove(ctx, e.network, client.NetworkRemoveOptions{})
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
