package docker

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"tidings/bus"
	"tidings/publisher"
	"tidings/publisher/docker/dockertest"
)

// acting follows a test's engine, and does actions on it.
type acting struct {
	*testing.T
	*audience
}

func act(t *testing.T, engine *dockertest.Engine) acting {
	t.Helper()
	a := acting{t, follow(t, Config{Host: engine.Host()})}
	a.until(t, "the engine", func() bool { return a.source.Runtimes() != nil })
	return a
}

// do finds a container and does something to it.
func (a acting) do(wanted string, verb bus.Verb) (publisher.Done, error) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), testPatience)
	defer cancel()
	target, err := a.source.Find(ctx, wanted)
	if err != nil {
		a.Fatalf("find %s: %v", wanted, err)
	}
	return target.Do(ctx, verb)
}

func codeOf(err error) string {
	if refused, ok := errors.AsType[*bus.ActionError](err); ok {
		return refused.Code
	}
	return ""
}

func TestAct_EachVerbOnARealEngine(t *testing.T) {
	engine := dockertest.Shared(t)
	a := act(t, engine)
	c := engine.Create(t, dockertest.Spec{Name: "verbs"})
	for _, step := range []struct {
		verb    bus.Verb
		changed bool
		state   string
		code    string
	}{
		{bus.Stop, false, "created", ""},
		{bus.Kill, false, "created", ""},
		{bus.Pause, false, "", bus.CodeConflict},
		{bus.Start, true, "running", ""},
		{bus.Start, false, "running", ""},
		{bus.Unpause, false, "running", ""},
		{bus.Remove, false, "", bus.CodeConflict},
		{bus.Pause, true, "paused", ""},
		{bus.Pause, false, "paused", ""},
		{bus.Start, false, "", bus.CodeConflict},
		{bus.Unpause, true, "running", ""},
		{bus.Restart, true, "running", ""},
		{bus.Stop, true, "exited", ""},
		{bus.Stop, false, "exited", ""},
		{bus.Unpause, false, "", bus.CodeConflict},
		{bus.Restart, true, "running", ""},
		{bus.Kill, true, "exited", ""},
		{bus.Kill, false, "exited", ""},
		{bus.Remove, true, "", ""},
	} {
		done, err := a.do(c.Name, step.verb)
		if codeOf(err) != step.code || err != nil && step.code == "" || done != (publisher.Done{Changed: step.changed, State: step.state}) {
			t.Errorf("%s: got %+v, %v, want %+v", step.verb, done, err, step)
		}
	}
	if _, err := a.source.Find(t.Context(), c.Name); codeOf(err) != bus.CodeNotFound {
		t.Errorf("after it was removed: %v", err)
	}
	var story []string
	a.happened(t, c.ID, "destroy", 1)
	for _, e := range a.of(c.ID) {
		story = append(story, e.Event)
	}
	if want := "create start pause unpause"; !strings.HasPrefix(strings.Join(story, " "), want) {
		t.Errorf("the events tell %v", story)
	}
}

func TestFind_ByNameAndByIDAndNotByLess(t *testing.T) {
	engine := dockertest.Shared(t)
	a := act(t, engine)
	c := engine.Create(t, dockertest.Spec{Name: "findme", Grace: 3})
	own := engine.Create(t, dockertest.Spec{Name: "notme", Labels: map[string]string{"tidings.protected": "true"}})
	for _, wanted := range []string{"findme", c.ID, c.ID[:12], c.ID[:63]} {
		target, err := a.source.Find(t.Context(), wanted)
		if err != nil || target.ID != c.ID || target.Name != "findme" || target.Protected || target.Grace != 3*time.Second {
			t.Errorf("%s: got %+v, %v", wanted, target, err)
		}
	}
	if target, err := a.source.Find(t.Context(), "notme"); err != nil || !target.Protected || target.Grace != 10*time.Second {
		t.Errorf("got %+v, %v", target, err)
	}
	twin := engine.Create(t, dockertest.Spec{Name: own.ID[:12]}) // the beginning of another's id as a name
	for _, wanted := range []string{c.ID[:11], "/findme", "find", "findme ", "FINDME", "*", "", "../notme", c.ID + "0", twin.Name} {
		if target, err := a.source.Find(t.Context(), wanted); codeOf(err) != bus.CodeNotFound {
			t.Errorf("%q: got %+v, %v", wanted, target, err)
		}
	}
	if target, err := a.source.Find(t.Context(), twin.ID[:12]); err != nil || target.ID != twin.ID {
		t.Errorf("by its id: %+v, %v", target, err)
	}
}

// What is looked for is compared with the engine's list, and no part of what the engine is asked. So it can be no path there, though
// nobody had looked at it before.
func TestFind_HostileNamesNeverReachTheEngine(t *testing.T) {
	engine := dockertest.Shared(t)
	c := engine.Create(t, dockertest.Spec{Name: "victim"})
	line := newCable(t, engine.Socket())
	a := acting{t, follow(t, Config{Host: line.host()})}
	a.until(t, "the engine", func() bool { return a.source.Runtimes() != nil })
	hostile := []string{
		"", "*", ">", ".", "..", "../", "../images/json", "../containers/victim", "victim/../victim", "victim/json", "/victim", "//victim", "victim/",
		"%2e%2e%2fimages%2fjson", "victim%00", "victim\x00", "victim?force=1", "?force=1", "victim?all=1&x=", "victim#x", "victim json",
		"victim HTTP/1.1\r\nX: y", "\r\n\r\nDELETE /containers/victim?force=1 HTTP/1.1\r\nHost: x\r\n\r\n", "-f", "--force", "$JS.API.>", "_INBOX.x",
		"sha256:" + c.ID, c.ID + "/", c.ID + "?force=1", c.ID[:12] + "/../" + c.ID, strings.Repeat("a", 1<<20), strings.Repeat("../", 1000),
	}
	for _, wanted := range hostile {
		if target, err := a.source.Find(t.Context(), wanted); codeOf(err) != bus.CodeNotFound {
			t.Errorf("%.80q: got %+v, %v", wanted, target, err)
		}
	}
	if _, err := a.do(c.Name, bus.Start); err != nil { // the engine is asked by the whole id alone
		t.Error(err)
	}
	known, started := regexp.MustCompile(`^[A-Z]+ (/v[0-9.]+)?/(_ping|version|info|events|containers/json|containers/[0-9a-f]{64}/[a-z]+)(\?[^ ]*)? HTTP/1\.1\r?$`), false
	for _, request := range line.requests() {
		if !known.MatchString(request) {
			t.Errorf("the engine was asked for %.200q", request)
		}
		started = started || strings.Contains(request, c.ID+"/start ")
	}
	if !started {
		t.Errorf("what the engine was asked for was not seen: %d requests", len(line.requests()))
	}
}

// A slow stop ends by itself, in its own grace: no client's patience cuts it short.
func TestAct_SlowStopHasItsWholeGrace(t *testing.T) {
	engine := dockertest.Shared(t)
	a := act(t, engine)
	c := engine.Run(t, dockertest.Spec{Name: "slowly", Arguments: []string{"-linger", "2s"}, Grace: 30})
	began := time.Now()
	done, err := a.do(c.Name, bus.Stop)
	if took := time.Since(began); err != nil || done.State != "exited" || took < 2*time.Second {
		t.Errorf("got %+v, %v after %v", done, err, took)
	}
	a.happened(t, c.ID, "die", 1)
	for _, e := range a.of(c.ID) {
		if e.Event == "die" && (e.ExitCode == nil || *e.ExitCode != 0) {
			t.Errorf("it was killed: %+v", e)
		}
	}
}

func TestAct_WhatTheEngineCannotDoSaysNothingInternal(t *testing.T) {
	engine := dockertest.Shared(t)
	a := act(t, engine)
	c := engine.Create(t, dockertest.Spec{Name: "noentry", Arguments: []string{"-no-such-flag"}})
	done, err := a.do(c.Name, bus.Start) // it starts, and exits at once
	if err != nil || !done.Changed {
		t.Errorf("got %+v, %v", done, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	target, err := a.source.Find(ctx, c.Name)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := target.Do(ctx, bus.Restart); codeOf(err) != bus.CodeTimeout {
		t.Errorf("cut off: %v", err)
	}
	c.Remove(t)
	if _, err := target.Do(t.Context(), bus.Restart); codeOf(err) != bus.CodeNotFound {
		t.Errorf("on one that is no more: %v", err)
	}
}

func TestAct_EngineThatGoesAwayLeavesTheOutcomeUnknown(t *testing.T) {
	engine := dockertest.Start(t)
	a := act(t, engine)
	c := engine.Run(t, dockertest.Spec{Name: "orphan", Arguments: []string{"-linger", "20s"}, Grace: 60})
	target, err := a.source.Find(t.Context(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := target.Do(context.Background(), bus.Stop)
		ended <- err
	}()
	a.happened(t, c.ID, "kill", 1) // SIGTERM has been sent
	engine.Kill(t)
	if err := <-ended; codeOf(err) != bus.CodeTimeout {
		t.Errorf("got %v", err)
	}
	a.until(t, "the loss being noticed", func() bool { return a.source.Runtimes() == nil })
	if _, err := a.source.Find(t.Context(), c.Name); codeOf(err) != bus.CodeUnavailable {
		t.Errorf("without an engine: %v", err)
	}
	engine.Up(t)
}

func TestStopGrace_IsBoundedAndHasADefault(t *testing.T) {
	for said, want := range map[string]time.Duration{
		`{}`:                                       10 * time.Second,
		`{"Config":{}}`:                            10 * time.Second,
		`{"Config":{"StopTimeout":0}}`:             0,
		`{"Config":{"StopTimeout":90}}`:            90 * time.Second,
		`{"Config":{"StopTimeout":-1}}`:            10 * time.Minute,
		`{"Config":{"StopTimeout":9000000000000}}`: 10 * time.Minute,
	} {
		var in container.InspectResponse
		if err := json.Unmarshal([]byte(said), &in); err != nil {
			t.Fatal(err)
		}
		if got := stopGrace(in); got != want {
			t.Errorf("%s: %v", said, got)
		}
	}
}
