package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/auth"
)

// tokens are the sessions of a test, by their token. A token that is not there is not valid.
type tokens map[string]*auth.Session

func (s tokens) Verify(_ context.Context, token string) (*auth.Session, error) {
	switch token {
	case "old":
		return nil, fmt.Errorf("%w: an hour ago", auth.ErrExpired)
	case "early":
		return nil, fmt.Errorf("%w: 10.0.0.1 does not answer", auth.ErrUnavailable)
	}
	if session := s[token]; session != nil {
		return session, nil
	}
	return nil, fmt.Errorf("%w: signature", auth.ErrInvalid)
}

// rack is an engine whose containers do what a test says.
type rack struct {
	find func(wanted string) (Target, error)
	do   func(ctx context.Context, id string, verb bus.Verb) (Done, error)
	done atomic.Int32
}

func (r *rack) Find(_ context.Context, wanted string) (Target, error) {
	if r.find != nil {
		return r.find(wanted)
	}
	id := strings.Repeat("0", 64-len(wanted)) + wanted
	switch wanted {
	case "none":
		return Target{}, refusal(bus.CodeNotFound, "this host has no such container")
	case "broken":
		return Target{}, errors.New("dial unix /run/secret.sock: connection refused")
	}
	return Target{ID: id, Name: wanted, Protected: wanted == "nats", Do: func(ctx context.Context, verb bus.Verb) (Done, error) {
		r.done.Add(1)
		if r.do == nil {
			return Done{Changed: true, State: "running"}, nil
		}
		return r.do(ctx, id, verb)
	}}, nil
}

// stage is a publisher that answers actions, and an edge.
type stage struct {
	*testing.T
	server   *bustest.Server
	edge     *bus.Conn
	ears     ears
	rack     *rack
	file     string
	registry *prometheus.Registry
	running  *running
}

func act(t *testing.T, change ...func(*Config)) *stage {
	t.Helper()
	s := &stage{T: t, server: bustest.New(t), rack: &rack{}, file: filepath.Join(t.TempDir(), "audit")}
	s.edge = s.server.Connect(t)
	s.ears = listen(t, s.edge)
	s.start(change...)
	return s
}

// start starts the publisher, once more if one has ended.
func (s *stage) start(change ...func(*Config)) {
	s.Helper()
	s.registry = prometheus.NewRegistry()
	c := Config{
		Bus: s.server.Connect(s.T), Host: "web-1", Sources: []Source{describes("web-1")}, Registerer: s.registry,
		Actions: &Actions{
			Verbs: bus.Verbs, Engine: s.rack, AuditFile: s.file,
			Verifier: tokens{
				"ada": {Subject: "ada", Act: []auth.ActPattern{"web-1.>"}},
				"bob": {Subject: "bob", Act: []auth.ActPattern{"web-1.api.restart"}},
			},
		},
	}
	for _, f := range change {
		f(&c)
	}
	s.running = run(s.T, c)
	eventually(s.T, "actions are answered", func() bool {
		_, err := s.edge.Act(s.Context(), bus.Action{Key: "k", Host: "web-1", Container: "none", Verb: bus.Start, Token: "nobody", Timeout: time.Second})
		return codeOf(err) == bus.CodeUnauthorized
	})
}

func codeOf(err error) string {
	if refused, ok := errors.AsType[*bus.ActionError](err); ok {
		return refused.Code
	}
	return ""
}

var keys atomic.Int64

// ask is an action of ada's on api.
func ask(change ...func(*bus.Action)) bus.Action {
	a := bus.Action{
		Key: fmt.Sprint("k", keys.Add(1)), Host: "web-1", Container: "api", Verb: bus.Restart, Token: "ada", Edge: "edge-0",
		RemoteAddress: "192.0.2.7", Timeout: soon,
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

// audited is the next record on the topic of an action by somebody.
func (s *stage) audited(of func(ActionRecord) bool) ActionRecord {
	s.Helper()
	var r ActionRecord
	s.ears.until("the audit", func(m bus.Message) bool {
		r = ActionRecord{}
		return m.Topic == "container-action.web-1" && json.Unmarshal(m.Payload, &r) == nil && of(r)
	})
	return r
}

// lines are the entries of the audit file, but for those of start.
func (s *stage) lines() (all []entry) {
	s.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.Fatalf("%q: %v", line, err)
		}
		if e.Container != "none" || e.By != "" {
			all = append(all, e)
		}
	}
	return all
}

func TestAction_IsDoneAndAudited(t *testing.T) {
	s := act(t)
	result, err := s.edge.Act(t.Context(), ask())
	id := strings.Repeat("0", 61) + "api"
	if want := (bus.ActionResult{Host: "web-1", Container: "api", ID: id, Action: bus.Restart, Changed: true, State: "running"}); err != nil || result != want {
		t.Errorf("got %+v, %v", result, err)
	}
	r := s.audited(func(r ActionRecord) bool { return r.By == "ada" })
	r.DurationMs = 0
	if want := (ActionRecord{By: "ada", Via: "edge-0", RemoteAddress: "192.0.2.7", Container: "api", ID: id, Action: bus.Restart, Outcome: "ok"}); r != want {
		t.Errorf("audited as %+v", r)
	}
	lines := s.lines()
	if len(lines) != 2 || lines[0].Phase != "intent" || lines[1].Phase != "outcome" || lines[0].Entry != lines[1].Entry || lines[1].Outcome != "ok" {
		t.Errorf("the file has %+v", lines)
	}
	if text, _ := os.ReadFile(s.file); strings.Contains(string(text), `"token"`) || strings.Contains(string(text), "nobody") {
		t.Errorf("the file holds a token: %s", text)
	}
	if info, err := os.Stat(s.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is open to %v, %v", info.Mode(), err)
	}
}

func TestAction_IntentIsOnTheDiskBeforeItBegins(t *testing.T) {
	s := act(t)
	var before []entry
	s.rack.do = func(context.Context, string, bus.Verb) (Done, error) {
		before = s.lines()
		return Done{}, nil
	}
	if result, err := s.edge.Act(t.Context(), ask()); err != nil || result.Changed {
		t.Errorf("got %+v, %v", result, err)
	}
	if len(before) != 1 || before[0].Phase != "intent" || before[0].By != "ada" || before[0].Outcome != "" {
		t.Errorf("when it began the file had %+v", before)
	}
	if r := s.audited(func(r ActionRecord) bool { return r.By == "ada" }); r.Outcome != "unchanged" || r.Code != "" {
		t.Errorf("audited as %+v", r)
	}
}

func TestAction_EachRefusalHasItsCodeAndIsAudited(t *testing.T) {
	s := act(t, func(c *Config) { c.Actions.Verbs = []bus.Verb{bus.Restart, bus.Stop} })
	long := make(chan struct{})
	s.rack.do = func(_ context.Context, id string, _ bus.Verb) (Done, error) {
		switch {
		case strings.HasSuffix(id, "busy"):
			<-long
		case strings.HasSuffix(id, "port"):
			return Done{}, errors.New("port 80 of /run/secret is taken")
		case strings.HasSuffix(id, "panics"):
			panic("as the test wants it")
		}
		return Done{}, nil
	}
	busy := make(chan error, 1)
	go func() {
		_, err := s.edge.Act(context.Background(), ask(func(a *bus.Action) { a.Container = "busy" }))
		busy <- err
	}()
	eventually(t, "it runs", func() bool { return s.rack.done.Load() == 1 })
	for name, c := range map[string]struct {
		change      func(*bus.Action)
		code        string
		by, outcome string
	}{
		"a token that is not valid": {func(a *bus.Action) { a.Token = "made-up" }, bus.CodeUnauthorized, "", "refused"},
		"no token":                  {func(a *bus.Action) { a.Token = "" }, bus.CodeUnauthorized, "", "refused"},
		"an expired token":          {func(a *bus.Action) { a.Token = "old" }, bus.CodeTokenExpired, "", "refused"},
		"no keys yet":               {func(a *bus.Action) { a.Token = "early" }, bus.CodeUnavailable, "", "refused"},
		"a verb that is off":        {func(a *bus.Action) { a.Verb = bus.Remove }, bus.CodeDisabled, "ada", "refused"},
		"another verb":              {func(a *bus.Action) { a.Token, a.Verb = "bob", bus.Stop }, bus.CodeForbidden, "bob", "refused"},
		"another container":         {func(a *bus.Action) { a.Token, a.Container = "bob", "db" }, bus.CodeForbidden, "bob", "refused"},
		"none, and it isn't told":   {func(a *bus.Action) { a.Token, a.Container = "bob", "none" }, bus.CodeForbidden, "bob", "refused"},
		"one that the edge refused": {func(a *bus.Action) { a.Refused = bus.CodeForbidden }, bus.CodeForbidden, "ada", "refused"},
		"none":                      {func(a *bus.Action) { a.Container = "none" }, bus.CodeNotFound, "ada", "refused"},
		"one of our own":            {func(a *bus.Action) { a.Container = "nats" }, bus.CodeProtected, "ada", "refused"},
		"no engine":                 {func(a *bus.Action) { a.Container = "broken" }, bus.CodeUnavailable, "ada", "refused"},
		"one on which another runs": {func(a *bus.Action) { a.Container = "busy" }, bus.CodeConflict, "ada", "refused"},
		"one that fails":            {func(a *bus.Action) { a.Container = "port" }, bus.CodeInternal, "ada", "failed"},
		"one that panics":           {func(a *bus.Action) { a.Container = "panics" }, bus.CodeInternal, "ada", "failed"},
	} {
		a := ask(c.change)
		_, err := s.edge.Act(t.Context(), a)
		if codeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
		if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "10.0.0.1") {
			t.Errorf("%s: it says %v", name, err)
		}
		r := s.audited(func(r ActionRecord) bool { return r.Code != bus.CodeUnauthorized || r.Container == "api" })
		if r.By != c.by || r.Outcome != c.outcome || r.Code != c.code || r.Container != a.Container || r.Via != "edge-0" {
			t.Errorf("%s: audited as %+v", name, r)
		}
		if lines := s.lines(); lines[len(lines)-1].Key != a.Key || lines[len(lines)-1].Code != c.code {
			t.Errorf("%s: the file ends with %+v", name, lines[len(lines)-1])
		}
	}
	close(long)
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if n := s.rack.done.Load(); n != 3 {
		t.Errorf("%d were begun, want those on busy, port and panics", n)
	}
	if n := testutil.ToFloat64(s.running.actions.ended[bus.Restart]["failed"]); n != 2 {
		t.Errorf("%v failures are counted", n)
	}
}

// The request comes twice at once, and once more after the answer, as when a reply was lost.
func TestAction_SameKeyIsDoneOnce(t *testing.T) {
	s := act(t)
	go_on := make(chan struct{})
	s.rack.do = func(context.Context, string, bus.Verb) (Done, error) {
		<-go_on
		return Done{Changed: true, State: "running"}, nil
	}
	a := ask()
	var twice sync.WaitGroup
	results := make([]bus.ActionResult, 3)
	for i := range 2 {
		twice.Go(func() {
			var err error
			if results[i], err = s.edge.Act(context.Background(), a); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "both have come", func() bool { return s.rack.done.Load() == 1 && testutil.ToFloat64(s.running.actions.repeated) == 1 })
	close(go_on)
	twice.Wait()
	results[2], _ = s.edge.Act(t.Context(), a)
	if s.rack.done.Load() != 1 || results[0] != results[1] || results[1] != results[2] || !results[0].Changed {
		t.Errorf("done %d times, with %+v", s.rack.done.Load(), results)
	}
	if lines := s.lines(); len(lines) != 2 {
		t.Errorf("the file has %+v", lines)
	}
	// Another person's request of that key, and another action under it, are others.
	other := a
	other.Token = "bob"
	if _, err := s.edge.Act(t.Context(), other); err != nil || s.rack.done.Load() != 2 {
		t.Errorf("%v, done %d times", err, s.rack.done.Load())
	}
	other = a
	other.Verb = bus.Stop
	if _, err := s.edge.Act(t.Context(), other); codeOf(err) != bus.CodeBadRequest {
		t.Errorf("got %v", err)
	}
}

func TestAction_DeadlinePassedInTheQueueIsNotBegun(t *testing.T) {
	s := act(t, func(c *Config) { c.Actions.AtOnce = 1 })
	end := make(chan struct{})
	s.rack.do = func(context.Context, string, bus.Verb) (Done, error) {
		<-end
		return Done{}, nil
	}
	first := make(chan error, 1)
	go func() {
		_, err := s.edge.Act(context.Background(), ask())
		first <- err
	}()
	eventually(t, "it runs", func() bool { return s.rack.done.Load() == 1 })
	_, err := s.edge.Act(t.Context(), ask(func(a *bus.Action) { a.Container, a.Deadline = "db", time.Now().Add(200*time.Millisecond) }))
	if codeOf(err) != bus.CodeUnavailable || !strings.Contains(err.Error(), "not begun") {
		t.Errorf("got %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if r := s.audited(func(r ActionRecord) bool { return r.Container == "db" }); r.Outcome != "refused" {
		t.Errorf("audited as %+v", r)
	}
	if n := s.rack.done.Load(); n != 1 {
		t.Errorf("%d were done", n)
	}
}

func TestAction_TimeoutKeepsTheContainerUntilTheEngineIsDone(t *testing.T) {
	s := act(t)
	end := make(chan struct{})
	s.rack.do = func(context.Context, string, bus.Verb) (Done, error) {
		<-end
		return Done{Changed: true}, nil
	}
	_, err := s.edge.Act(t.Context(), ask(func(a *bus.Action) { a.Timeout = 200 * time.Millisecond }))
	if codeOf(err) != bus.CodeTimeout || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("got %v", err)
	}
	if r := s.audited(func(r ActionRecord) bool { return r.By == "ada" }); r.Outcome != "timeout" || r.DurationMs < 200 {
		t.Errorf("audited as %+v", r)
	}
	if _, err := s.edge.Act(t.Context(), ask()); codeOf(err) != bus.CodeConflict {
		t.Errorf("meanwhile got %v", err)
	}
	close(end)
	eventually(t, "the container is free again", func() bool {
		_, err := s.edge.Act(t.Context(), ask())
		return err == nil
	})
}

func TestAction_WithoutAnAuditFileNothingIsDone(t *testing.T) {
	s := act(t)
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.file, 0o700); err != nil { // nobody, not even root, can write to a directory
		t.Fatal(err)
	}
	_, err := s.edge.Act(t.Context(), ask())
	if codeOf(err) != bus.CodeUnavailable || s.rack.done.Load() != 0 {
		t.Errorf("got %v, done %d times", err, s.rack.done.Load())
	}
	if r := s.audited(func(r ActionRecord) bool { return r.By == "ada" }); r.Outcome != "refused" {
		t.Errorf("audited as %+v", r)
	}
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.edge.Act(t.Context(), ask()); err != nil {
		t.Errorf("when it can be written again: %v", err)
	}
}

func TestAudit_FileMayBeRenamedToRotateIt(t *testing.T) {
	s := act(t)
	if _, err := s.edge.Act(t.Context(), ask()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.file, s.file+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.edge.Act(t.Context(), ask()); err != nil {
		t.Fatal(err)
	}
	if lines := s.lines(); len(lines) != 2 {
		t.Errorf("the new file has %+v", lines)
	}
}

// The publisher before this one has left an intent, a line that a crash has cut short, and an action that has ended.
func TestAudit_WhatACrashLeftOpenIsReportedAndNotDoneAgain(t *testing.T) {
	s := act(t)
	s.running.stop(t)
	left := ask()
	ended := ask()
	now := time.Now().UTC()
	var text []byte
	for _, e := range []entry{
		{Time: now, Phase: phaseIntent, Entry: "A", Host: "web-1", Key: left.Key, Asked: "api", ActionRecord: ActionRecord{By: "ada", Via: "edge-0", Container: "api", ID: "0a", Action: bus.Restart}},
		{Time: now, Phase: phaseIntent, Entry: "B", Host: "web-2", Key: "x", Asked: "api", ActionRecord: ActionRecord{By: "eve", Container: "api", Action: bus.Restart}},
		{Time: now, Phase: phaseIntent, Entry: "C", Host: "web-1", Key: ended.Key, Asked: "api", ActionRecord: ActionRecord{By: "ada", Container: "api", ID: "0a", Action: bus.Restart}},
		{Time: now, Phase: phaseOutcome, Entry: "C", Host: "web-1", Key: ended.Key, Asked: "api", ActionRecord: ActionRecord{By: "ada", Container: "api", ID: "0a", Action: bus.Restart, Outcome: "ok"}},
		{Time: now, Phase: phaseIntent, Entry: "D", Host: "web-1", Key: "x", Asked: "api", ActionRecord: ActionRecord{By: "ada", Container: "api", Action: "levitate"}},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, line...), '\n')
	}
	text = append(text, `{"time":"2026-01-01T00:00:00Z","phase":"int`...)
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	r := s.audited(func(r ActionRecord) bool { return r.Outcome == "timeout" })
	if r.By != "ada" || r.Code != bus.CodeTimeout || r.Container != "api" || r.ID != "0a" || r.Via != "edge-0" {
		t.Errorf("audited as %+v", r)
	}
	if _, err := s.edge.Act(t.Context(), left); codeOf(err) != bus.CodeTimeout {
		t.Errorf("asked again: %v", err)
	}
	if result, err := s.edge.Act(t.Context(), ended); err != nil || !result.Changed {
		t.Errorf("asked again: %+v, %v", result, err)
	}
	if n := s.rack.done.Load(); n != 0 {
		t.Errorf("%d were done again", n)
	}
	s.running.stop(t)
	text, err := os.ReadFile(s.file)
	if err != nil || strings.Count(string(text), `"entry":"A"`) != 2 || strings.Contains(string(text), "phase\":\"int{") {
		t.Errorf("the file became %s, %v", text, err)
	}
	s.start() // what has been reported is not reported again
	if _, err := s.edge.Act(t.Context(), ask()); err != nil {
		t.Fatal(err)
	}
	if r := s.audited(func(r ActionRecord) bool { return r.By == "ada" }); r.Outcome != "ok" {
		t.Errorf("reported again: %+v", r)
	}
}

func TestStop_WaitsForActionsWithinTheGrace(t *testing.T) {
	s := act(t, func(c *Config) { c.Grace = soon })
	begun, end := make(chan struct{}), make(chan struct{})
	s.rack.do = func(context.Context, string, bus.Verb) (Done, error) {
		close(begun)
		<-end
		return Done{Changed: true}, nil
	}
	answer := make(chan error, 1)
	go func() {
		_, err := s.edge.Act(context.Background(), ask())
		answer <- err
	}()
	<-begun
	s.running.cancel()
	eventually(t, "the publisher takes no more", func() bool {
		_, err := s.edge.Act(t.Context(), ask())
		return codeOf(err) == bus.CodeHostOffline
	})
	close(end)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := s.running.end(t); err != nil {
		t.Error(err)
	}
	asked := func(r ActionRecord) bool { return r.By == "ada" && r.Code != bus.CodeConflict } // others may have come before the stop
	if r := s.audited(asked); r.Outcome != "ok" {
		t.Errorf("audited as %+v", r)
	}
}

func TestStop_AfterTheGraceTheOutcomeIsUnknown(t *testing.T) {
	s := act(t, func(c *Config) { c.Grace = 400 * time.Millisecond })
	begun := make(chan struct{})
	s.rack.do = func(ctx context.Context, _ string, _ bus.Verb) (Done, error) {
		close(begun)
		<-ctx.Done()
		return Done{}, ctx.Err()
	}
	answer := make(chan error, 1)
	go func() {
		_, err := s.edge.Act(context.Background(), ask())
		answer <- err
	}()
	<-begun
	s.running.stop(t)
	if err := <-answer; codeOf(err) != bus.CodeTimeout {
		t.Errorf("got %v", err)
	}
	if r := s.audited(func(r ActionRecord) bool { return r.By == "ada" }); r.Outcome != "timeout" {
		t.Errorf("audited as %+v", r)
	}
}

func TestActions_OffMeansThatNobodyAnswers(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	p := run(t, Config{Bus: server.Connect(t), Host: "web-1", Sources: []Source{describes("web-1")}})
	eventually(t, "it publishes", func() bool { return p.Ready() == nil })
	if _, err := edge.Act(t.Context(), ask()); codeOf(err) != bus.CodeHostOffline {
		t.Errorf("got %v", err)
	}
}

func TestActions_FaultsAreNamedByTheirKeys(t *testing.T) {
	err := Config{Actions: &Actions{AtOnce: -1}}.Validate()
	for _, key := range []string{"verbs:", "tokens:", "engine:", "audit_file:", "at_once:"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%q is not named in: %v", key, err)
		}
	}
	if err := (Actions{Verbs: []bus.Verb{"exec"}}).Validate(); !strings.Contains(err.Error(), `"exec"`) {
		t.Errorf("got %v", err)
	}
}

func TestActionMetrics_ExistFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	if _, err := newActionMetrics(r); err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(r, "tidings_actions_total"); n != len(bus.Verbs)*len(outcomes) {
		t.Errorf("%d of tidings_actions_total", n)
	}
}

func TestMemory_IsBoundedAndForgetsTheOldest(t *testing.T) {
	m, now := newMemory(), time.Now()
	lasting, _ := m.begin(asking{"ada", "lasting"}, "api", bus.Stop, now)
	for n := range 3 * maxMemories {
		e, first := m.begin(asking{"ada", fmt.Sprint(n)}, "api", bus.Stop, now)
		if !first {
			t.Fatalf("%d was there", n)
		}
		e.end(bus.ActionResult{}, nil)
	}
	if len(m.of) != maxMemories || len(m.order) != maxMemories {
		t.Errorf("it holds %d and %d", len(m.of), len(m.order))
	}
	if _, first := m.begin(asking{"ada", fmt.Sprint(3*maxMemories - 1)}, "api", bus.Stop, now); first {
		t.Error("the newest is forgotten")
	}
	if _, first := m.begin(asking{"ada", "0"}, "api", bus.Stop, now); !first {
		t.Error("the oldest is remembered")
	}
	if e, first := m.begin(asking{"ada", "lasting"}, "api", bus.Stop, now); first || e != lasting {
		t.Error("one that runs is forgotten")
	}
	lasting.end(bus.ActionResult{}, nil)
	m.begin(asking{"ada", "later"}, "api", bus.Stop, now.Add(memoryAge))
	if len(m.of) != 2 { // the one that has not ended, and the later one
		t.Errorf("after %v it holds %d: %v", memoryAge, len(m.of), slices.Collect(func(yield func(asking) bool) {
			for who := range m.of {
				if !yield(who) {
					return
				}
			}
		}))
	}
}
