//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/publisher/docker/dockertest"
)

const actionSecret = "a secret that is long enough, but not to guess"

// actor is a publisher in a process of its own that does actions, and who asks for some as an edge does.
type actor struct {
	t      *testing.T
	server *bustest.Server
	engine *dockertest.Engine
	host   string
	audit  string // file
	edge   *bus.Conn
	*program
}

func startActor(t *testing.T, host string) *actor {
	t.Helper()
	a := &actor{t: t, server: bustest.New(t), engine: dockertest.Shared(t), host: host, audit: filepath.Join(t.TempDir(), "audit.jsonl")}
	a.edge = a.server.Connect(t)
	a.start()
	return a
}

// start starts the publisher, again if it has ended, and waits until it answers.
func (a *actor) start() {
	a.t.Helper()
	a.program = launch(a.t, command{
		path: programs.path(a.t, "publisher"),
		args: []string{"--admin", "127.0.0.1:0", "--nats", a.server.URL(), "--host", a.host, "--docker-host", a.engine.Host(), "--actions", "--audit-file", a.audit},
		env:  []string{"TIDINGS_TOKENS_SECRET=" + actionSecret, `TIDINGS_ACTIONS_VERBS=start,stop,restart,kill`},
	})
	eventually(a.t, "the publisher to see its containers", patience, func() error {
		_, err := a.ask("nobody", bus.Start, a.token())
		if refused, ok := errors.AsType[*bus.ActionError](err); ok && refused.Code == bus.CodeNotFound {
			return nil
		}
		return err
	})
}

// token grants all on the host.
func (a *actor) token() string {
	a.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
		"tidings": map[string]any{"subscribe": []string{">"}, "act": []string{a.host + ".>"}},
	}).SignedString([]byte(actionSecret))
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

func (a *actor) ask(container string, verb bus.Verb, token string) (bus.ActionResult, error) {
	return a.edge.Act(a.t.Context(), a.action(container, verb, token))
}

func (a *actor) action(container string, verb bus.Verb, token string) bus.Action {
	return bus.Action{
		Key: fmt.Sprintf("%d", time.Now().UnixNano()), Host: a.host, Container: container, Verb: verb, Token: token,
		Edge: "edge-0", RemoteAddress: "192.0.2.7", Timeout: 5 * time.Second,
	}
}

// auditLine is what the audit says of one action.
type auditLine struct {
	Phase, Entry, By, Container, ID, Outcome, Code string
}

// happening is a container event as these tests look at it.
type happening struct{ ID, Event string }

// happens waits for an event of a container.
func happens(t testing.TB, client *socket, topic, id, event string) {
	t.Helper()
	client.await(topic, event+" of "+id, func(m message) bool {
		return payload[happening](t, m) == happening{id, event}
	})
}

func (a *actor) lines(container string) (lines []auditLine) {
	a.t.Helper()
	text, err := os.ReadFile(a.audit)
	if err != nil {
		a.t.Fatal(err)
	}
	if strings.Contains(string(text), "eyJ") {
		a.t.Errorf("the audit file holds a token")
	}
	for line := range strings.Lines(string(text)) {
		var l auditLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			a.t.Fatalf("%q: %v", line, err)
		}
		if l.Container == container {
			lines = append(lines, l)
		}
	}
	return lines
}

// The whole way: a client's socket, an edge, NATS, a publisher, an engine, and back.
func TestAction_FromAClientToTheEngine(t *testing.T) {
	t.Parallel()
	a := startActor(t, "whole")
	c := a.engine.Run(t, dockertest.Spec{Name: "e2e-whole", Grace: 1})
	a.engine.Run(t, dockertest.Spec{Name: "e2e-guarded", Labels: map[string]string{"tidings.protected": "true"}})
	e := launchEdge(t, a.server, []string{"TIDINGS_AUTH=tokens", "TIDINGS_TOKENS_SECRET=" + actionSecret}, "--allow-actions", "--name", "edge-7")
	client := dial(t, e.socket, "bearer."+a.token())
	client.subscribe("host.whole", "container-action.whole", "container-events.whole")
	offered := payload[struct{ Actions []string }](t, client.await("host.whole", "the host", isThere))
	if strings.Join(offered.Actions, " ") != "start stop restart kill" {
		t.Errorf("the host offers %v", offered.Actions)
	}
	for _, step := range []struct {
		container string
		verb      bus.Verb
		kind      string // of the answer
		want      string // in it
		outcome   string
	}{
		{c.Name, bus.Restart, "ack", `"changed":true,"state":"running"`, "ok"},
		{c.ID[:12], bus.Start, "ack", `"changed":false,"state":"running"`, "unchanged"},
		{c.Name, bus.Pause, "error", `"disabled"`, "refused"},
		{"e2e-guarded", bus.Stop, "error", `"protected"`, "refused"},
		{"e2e-absent", bus.Stop, "error", `"not_found"`, "refused"},
	} {
		m := client.ask(map[string]any{"type": "action", "host": "whole", "container": step.container, "action": step.verb})
		if m.Type != step.kind || !strings.Contains(string(m.Payload), step.want) {
			t.Errorf("%s %s: %v", step.verb, step.container, m)
		}
		audit := payload[struct{ By, Via, RemoteAddress, Outcome, Action string }](t, client.await("container-action.whole", "the audit",
			func(m message) bool { return strings.Contains(m.raw, "edge-7") }))
		if audit.By != "ada" || audit.Via != "edge-7" || audit.RemoteAddress != "127.0.0.1" || audit.Outcome != step.outcome || audit.Action != string(step.verb) {
			t.Errorf("%s %s: audited as %+v", step.verb, step.container, audit)
		}
	}
	happens(t, client, "container-events.whole", c.ID, "restart")
	if m := client.ask(map[string]any{"type": "action", "host": "nowhere", "container": "x", "action": "stop"}); !strings.Contains(m.raw, `"forbidden"`) {
		t.Errorf("on another host: %v", m)
	}
	if m := client.ask(map[string]any{"type": "action", "host": "whole", "container": c.Name, "action": "stop", "timeout_ms": 30000}); m.Type != "ack" || !strings.Contains(m.raw, `"exited"`) {
		t.Errorf("stop: %v", m)
	}
}

// A publisher is killed after the engine was told to stop a container, and before its client has heard of it.
func TestAction_PublisherKilledBetweenDoingAndAnswering(t *testing.T) {
	t.Parallel()
	a := startActor(t, "killed")
	client := dial(t, startEdge(t, a.server).socket)
	client.subscribe("container-action.killed", "container-events.killed")
	c := a.engine.Run(t, dockertest.Spec{Name: "e2e-killed", Arguments: []string{"-linger", "2s"}, Grace: 30})
	happens(t, client, "container-events.killed", c.ID, "start")

	request := a.action(c.Name, bus.Stop, a.token())
	answer := make(chan error, 1)
	go func() {
		_, err := a.edge.Act(t.Context(), request)
		answer <- err
	}()
	happens(t, client, "container-events.killed", c.ID, "kill") // SIGTERM was sent
	a.kill()
	var refused *bus.ActionError
	if err := <-answer; !errors.As(err, &refused) || refused.Code != bus.CodeTimeout || !strings.Contains(refused.Message, "unknown") {
		t.Errorf("the edge was told %v", err)
	}
	if lines := a.lines(c.Name); len(lines) != 1 || lines[0].Phase != "intent" {
		t.Fatalf("the file has %+v", lines)
	}
	if _, err := a.ask(c.Name, bus.Stop, a.token()); !errors.As(err, &refused) || refused.Code != bus.CodeHostOffline {
		t.Errorf("without a publisher: %v", err)
	}

	a.start()
	m := client.await("container-action.killed", "the end that nobody saw", func(m message) bool { return payload[auditLine](t, m).Outcome == "timeout" })
	if r := payload[auditLine](t, m); r.By != "ada" || r.ID != c.ID || r.Code != bus.CodeTimeout {
		t.Errorf("audited as %+v", r)
	}
	if lines := a.lines(c.Name); len(lines) != 2 || lines[1].Entry != lines[0].Entry || lines[1].Outcome != "timeout" {
		t.Errorf("the file has %+v", lines)
	}
	// What became of it the containers' list tells, and the same request does not do it again.
	if _, err := a.edge.Act(t.Context(), request); !errors.As(err, &refused) || refused.Code != bus.CodeTimeout {
		t.Errorf("asked once more: %v", err)
	}
	if result, err := a.ask(c.Name, bus.Stop, a.token()); err != nil || result.Changed || result.State != "exited" {
		t.Errorf("it has stopped, and yet %+v, %v", result, err)
	}
}

func TestAction_TwiceAtOnceIsDoneOnce(t *testing.T) {
	t.Parallel()
	a := startActor(t, "twice")
	c := a.engine.Run(t, dockertest.Spec{Name: "e2e-twice"})
	other := a.server.Connect(t)
	request := a.action(c.Name, bus.Restart, a.token())
	request.Timeout = patience
	type end struct {
		result bus.ActionResult
		err    error
	}
	ends := make(chan end, 2)
	for _, conn := range []*bus.Conn{a.edge, other} {
		go func() {
			result, err := conn.Act(t.Context(), request)
			ends <- end{result, err}
		}()
	}
	first, second := <-ends, <-ends
	if first != second || first.err != nil || !first.result.Changed || first.result.State != "running" {
		t.Errorf("got %+v and %+v", first, second)
	}
	if lines := a.lines(c.Name); len(lines) != 2 {
		t.Errorf("the file has %+v", lines)
	}
	metrics := metricsOf(t, a)
	if !strings.Contains(metrics, `tidings_actions_total{action="restart",outcome="ok"} 1`) || !strings.Contains(metrics, "tidings_actions_repeated_total 1") {
		t.Errorf("counted as\n%s", metrics)
	}
}

// metricsOf reads the publisher's metrics.
func metricsOf(t *testing.T, a *actor) string {
	t.Helper()
	_, body := get(t, "http://"+a.await(a.stderr, `"msg":"started","admin":"([^"]+)"`)+"/metrics")
	return body
}

func TestAction_OutageOfNATSWhileItRuns(t *testing.T) {
	t.Parallel()
	a := startActor(t, "outage")
	c := a.engine.Run(t, dockertest.Spec{Name: "e2e-outage", Arguments: []string{"-linger", "1s"}, Grace: 30})
	request := a.action(c.Name, bus.Stop, a.token())
	request.Timeout = patience
	answer := make(chan bus.ActionResult, 1)
	go func() {
		result, err := a.edge.Act(t.Context(), request)
		if err != nil {
			t.Error(err)
		}
		answer <- result
	}()
	eventually(t, "its intent", patience, func() error {
		if len(a.lines(c.Name)) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	a.server.Stop()
	eventually(t, "it to end while NATS is away", patience, func() error {
		if lines := a.lines(c.Name); len(lines) != 2 {
			return fmt.Errorf("%+v", lines)
		}
		return nil
	})
	var refused *bus.ActionError
	if _, err := a.ask(c.Name, bus.Start, a.token()); !errors.As(err, &refused) || refused.Code != bus.CodeUnavailable {
		t.Errorf("without NATS: %v", err)
	}
	a.server.Restart()
	if result := <-answer; result.State != "exited" || !result.Changed {
		t.Errorf("got %+v", result)
	}
	eventually(t, "the audit on its topic", patience, func() error {
		if err := a.edge.WaitReady(t.Context()); err != nil {
			return err
		}
		r, err := a.edge.LastN(t.Context(), "container-action.outage", 10)
		if err != nil {
			return err
		}
		for _, m := range r.Messages {
			if strings.Contains(string(m.Payload), c.ID) {
				return nil
			}
		}
		return errors.New("not yet")
	})
	// What was asked for during the outage was not done when it ended.
	if lines := a.lines(c.Name); len(lines) != 2 {
		t.Errorf("the file has %+v", lines)
	}
}
