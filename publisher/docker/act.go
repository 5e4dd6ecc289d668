package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"tidings/bus"
	"tidings/publisher"
)

const (
	// usualGrace is the engines' own, of containers that say nothing of it.
	usualGrace = 10 * time.Second
	// longestGrace bounds what is waited for a container that wants to be given for ever.
	longestGrace = 10 * time.Minute
	// shortestPrefix is how much of an id is taken for it (PROTOCOL §6).
	shortestPrefix = 12
)

var _ publisher.Engine = (*Source)(nil)

// Find looks a container up on the engine that is being followed. A name comes before an id; several are none.
func (s *Source) Find(ctx context.Context, wanted string) (publisher.Target, error) {
	v := s.view.Load()
	if v == nil {
		return publisher.Target{}, refusal(bus.CodeUnavailable, "the host's container engine is not in reach; nothing was done, ask again later")
	}
	list, err := v.engine.list(ctx)
	if err != nil {
		return publisher.Target{}, fmt.Errorf("list containers: %w", err)
	}
	id, err := match(list, wanted)
	if err != nil {
		return publisher.Target{}, err
	}
	in, err := v.engine.inspect(ctx, id, patience)
	if errdefs.IsNotFound(err) {
		return publisher.Target{}, errGone
	}
	if err != nil {
		return publisher.Target{}, fmt.Errorf("inspect container %s: %w", id, err)
	}
	record := s.reader.inspected(v.engine.runtime.Name, in)
	return publisher.Target{
		ID: record.ID, Name: record.Name, Protected: record.Protected, Grace: stopGrace(in),
		Do: func(ctx context.Context, verb bus.Verb) (publisher.Done, error) {
			return v.engine.do(ctx, record.ID, record.State, verb)
		},
	}, nil
}

// match is the id of the one container that is meant.
func match(list []container.Summary, wanted string) (string, error) {
	var named, numbered []string
	for _, c := range list {
		if slices.ContainsFunc(c.Names, func(name string) bool { return trimName(name) == wanted }) {
			named = append(named, c.ID)
		}
		if len(wanted) >= shortestPrefix && strings.HasPrefix(c.ID, wanted) {
			numbered = append(numbered, c.ID)
		}
	}
	found := named
	for _, id := range numbered {
		if !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", refusal(bus.CodeNotFound, "this host has no such container: write its whole name, or %d or more digits of its id", shortestPrefix)
	}
	return "", refusal(bus.CodeNotFound, "several containers are meant by that: write the whole id of one")
}

// stopGrace is what the engine gives a container between SIGTERM and SIGKILL.
func stopGrace(in container.InspectResponse) time.Duration {
	if in.Config == nil || in.Config.StopTimeout == nil {
		return usualGrace
	}
	seconds := *in.Config.StopTimeout
	if seconds < 0 || seconds > int(longestGrace/time.Second) {
		return longestGrace
	}
	return time.Duration(seconds) * time.Second
}

var errGone = refusal(bus.CodeNotFound, "the container is no more")

// do does what verb says to a container that was in a state a moment ago, and tells its state afterwards.
func (e *engine) do(ctx context.Context, id, state string, verb bus.Verb) (publisher.Done, error) {
	if nothingToDo(state, verb) {
		return publisher.Done{State: state}, nil
	}
	if err := e.order(ctx, id, verb); err != nil {
		return publisher.Done{}, explain(ctx, err, state, verb)
	}
	done := publisher.Done{Changed: true}
	if verb == bus.Remove {
		return done, nil
	}
	// It was done, so whatever goes wrong from here on is no failure of it: one that removes itself is not found, for instance.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience/2)
	defer cancel()
	if in, err := e.inspect(ctx, id, patience/2); err == nil && in.State != nil {
		done.State = parseState(string(in.State.Status))
	}
	return done, nil
}

// nothingToDo tells whether a container is already as it should be.
func nothingToDo(state string, verb bus.Verb) bool {
	switch verb {
	case bus.Start, bus.Unpause:
		return state == stateRunning
	case bus.Stop, bus.Kill:
		return state == stateExited || state == stateCreated || state == stateDead
	case bus.Pause:
		return state == statePaused
	}
	return false
}

// order tells the engine. It removes what has ended alone, and no volumes.
func (e *engine) order(ctx context.Context, id string, verb bus.Verb) (err error) {
	switch verb {
	case bus.Start:
		_, err = e.client.ContainerStart(ctx, id, client.ContainerStartOptions{})
	case bus.Stop:
		_, err = e.client.ContainerStop(ctx, id, client.ContainerStopOptions{})
	case bus.Restart:
		_, err = e.client.ContainerRestart(ctx, id, client.ContainerRestartOptions{})
	case bus.Pause:
		_, err = e.client.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	case bus.Unpause:
		_, err = e.client.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	case bus.Kill:
		_, err = e.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
	case bus.Remove:
		_, err = e.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{})
	default:
		err = fmt.Errorf("there is no way to %s a container", verb)
	}
	return err
}

// explain makes of an engine's error what the client is told, or leaves it to the operator.
func explain(ctx context.Context, err error, state string, verb bus.Verb) error {
	switch {
	case ctx.Err() != nil:
		return refusal(bus.CodeTimeout, "the engine has not answered in time, so the outcome is unknown: the container's events tell")
	case errdefs.IsNotFound(err):
		return errGone
	case state == stateRunning && verb == bus.Remove:
		return refusal(bus.CodeConflict, "the container is running: stop it before it is removed")
	case errdefs.IsConflict(err), verb == bus.Pause && state != stateRunning, verb == bus.Unpause && state != statePaused:
		return refusal(bus.CodeConflict, "a container that is %s takes no %s; look at its state, and ask again", state, verb)
	case client.IsErrConnectionFailed(err): // the client says so also of an engine that went away before it answered
		return refusal(bus.CodeTimeout, "the engine went away, so the outcome is unknown: the container's events tell")
	}
	return fmt.Errorf("%s: %w", verb, err)
}

func refusal(code, format string, args ...any) *bus.ActionError {
	return &bus.ActionError{Code: code, Message: fmt.Sprintf(format, args...)}
}
