package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/edge/wire"
)

// restart is an action as an edge makes it.
func restart(key string) bus.Action {
	return bus.Action{Key: key, Host: "web-1", Container: "api", Verb: bus.Restart, Token: "t", Edge: "edge-0", RemoteAddress: "192.0.2.7"}
}

// serveActions answers web-1's actions until the test ends.
func serveActions(t testing.TB, c *bus.Conn, handle bus.ActionHandler) (stop func(context.Context) error) {
	t.Helper()
	stop, err := c.ServeActions("web-1", handle, bus.ServeOptions{Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop(context.Background()) })
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stop
}

func done(_ context.Context, a bus.Action) (bus.ActionResult, error) {
	return bus.ActionResult{Host: a.Host, Container: a.Container, ID: "4f2a", Action: a.Verb, Changed: true, State: "running"}, nil
}

// wantCode fails the test unless err is an ActionError with this code, and something to say for people.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	refusal, ok := errors.AsType[*bus.ActionError](err)
	if !ok || refusal.Code != code || refusal.Message == "" {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestAct_IsDoneAndAnswered(t *testing.T) {
	server := bustest.New(t)
	registry := prometheus.NewRegistry()
	edge := server.Connect(t, func(c *bus.Config) { c.Registerer = registry })
	var got bus.Action
	serveActions(t, server.Connect(t), func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		got = a
		return done(ctx, a)
	})
	asked := restart("k1")
	asked.Timeout = 20 * time.Second
	result, err := edge.Act(within(t), asked)
	if want := (bus.ActionResult{Host: "web-1", Container: "api", ID: "4f2a", Action: bus.Restart, Changed: true, State: "running"}); err != nil || result != want {
		t.Errorf("got %+v, %v", result, err)
	}
	if left := time.Until(got.Deadline); left < 5*time.Second || left > 20*time.Second || got.Late() {
		t.Errorf("%v are left to begin, of 20s", left)
	}
	if got.Key != "k1" || got.Container != "api" || got.Verb != bus.Restart || got.Timeout != asked.Timeout || got.Token != "t" ||
		got.Edge != "edge-0" || got.RemoteAddress != "192.0.2.7" {
		t.Errorf("arrived as %+v", got)
	}
	if n := metric(t, registry, "tidings_bus_actions_asked_total", "ok"); n != 1 {
		t.Errorf("%v are counted", n)
	}
}

func TestAct_ErrorsArriveByTheirCodeAndNothingInternalDoes(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	var answer error
	serveActions(t, server.Connect(t), func(context.Context, bus.Action) (bus.ActionResult, error) { return bus.ActionResult{}, answer })
	for _, code := range bus.ActionCodes {
		answer = fmt.Errorf("wrapped: %w", &bus.ActionError{Code: code, Message: "line 1\r\nNats-Service-Error-Code: ok — ünïcode"})
		_, err := edge.Act(within(t), restart(code))
		wantCode(t, err, code)
		if refusal, _ := errors.AsType[*bus.ActionError](err); refusal != nil && !strings.HasSuffix(refusal.Message, "Nats-Service-Error-Code: ok — ünïcode") {
			t.Errorf("the message became %q", refusal.Message)
		}
	}
	for _, answer = range []error{errors.New("dial unix /run/secret.sock"), &bus.ActionError{Code: "made_up", Message: "/run/secret.sock"}} {
		_, err := edge.Act(within(t), restart("k"))
		wantCode(t, err, bus.CodeInternal)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("it says %v", err)
		}
	}
}

func TestAct_WhatIsWrongIsNotSent(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	serveActions(t, server.Connect(t), func(context.Context, bus.Action) (bus.ActionResult, error) {
		t.Error("it was sent")
		return bus.ActionResult{}, nil
	})
	for name, spoil := range map[string]func(*bus.Action){
		"no key":           func(a *bus.Action) { a.Key = "" },
		"long key":         func(a *bus.Action) { a.Key = strings.Repeat("k", 129) },
		"no host":          func(a *bus.Action) { a.Host = "" },
		"other subject":    func(a *bus.Action) { a.Host = "web-1.x" },
		"wildcard":         func(a *bus.Action) { a.Host = ">" },
		"white space":      func(a *bus.Action) { a.Host = "web-1 _INBOX.x" },
		"line break":       func(a *bus.Action) { a.Host = "web-1\r\nPUB x 0" },
		"no container":     func(a *bus.Action) { a.Container = "" },
		"long container":   func(a *bus.Action) { a.Container = strings.Repeat("c", 256) },
		"a path":           func(a *bus.Action) { a.Container = "../images/json" },
		"an option":        func(a *bus.Action) { a.Container = "-f" },
		"a query":          func(a *bus.Action) { a.Container = "api?force=1" },
		"no verb":          func(a *bus.Action) { a.Verb = "" },
		"made-up verb":     func(a *bus.Action) { a.Verb = "exec" },
		"negative timeout": func(a *bus.Action) { a.Timeout = -1 },
		"long timeout":     func(a *bus.Action) { a.Timeout = time.Hour + 1 },
		"made-up refusal":  func(a *bus.Action) { a.Refused = "never" },
		"token too large":  func(a *bus.Action) { a.Token = strings.Repeat("t", 2<<20) },
	} {
		a := restart("k")
		spoil(&a)
		_, err := edge.Act(within(t), a)
		t.Log(name)
		wantCode(t, err, bus.CodeBadRequest)
	}
	a := restart("k")
	a.Deadline = time.Now().Add(-time.Millisecond)
	_, err := edge.Act(within(t), a)
	wantCode(t, err, bus.CodeUnavailable)
}

func TestAct_HostOfflineIsSaidAtOnce(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	stop := serveActions(t, server.Connect(t), done)
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := edge.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := edge.Act(within(t), restart("k"))
	wantCode(t, err, bus.CodeHostOffline)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// An outage of NATS must not be the reason for which something is done late.
func TestAct_DuringAnOutageIsNeverSentLater(t *testing.T) {
	server := bustest.New(t)
	edge, publisher := server.Connect(t), server.Connect(t)
	keys := make(chan string, 8)
	serveActions(t, publisher, func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		keys <- a.Key
		return done(ctx, a)
	})
	server.Stop()
	eventually(t, "the outage is noticed", func() bool { return !edge.State().Connected && !publisher.State().Connected })
	began := time.Now()
	_, err := edge.Act(within(t), restart("during"))
	wantCode(t, err, bus.CodeUnavailable)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	server.Restart(edge, publisher)
	for _, c := range []*bus.Conn{edge, publisher} {
		if err := c.Flush(within(t)); err != nil { // the server has its subscriptions again
			t.Fatal(err)
		}
	}
	if _, err := edge.Act(within(t), restart("after")); err != nil {
		t.Fatal(err)
	}
	if first := <-keys; first != "after" {
		t.Errorf("%q was done", first)
	}
}

func TestAct_OutageWhileItRunsDoesNotCostTheAnswer(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	begun, end := make(chan struct{}), make(chan struct{})
	publisher := server.Connect(t)
	serveActions(t, publisher, func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		close(begun)
		<-end
		return done(ctx, a)
	})
	answer := make(chan error, 1)
	go func() {
		a := restart("k")
		a.Timeout = time.Minute
		_, err := edge.Act(context.Background(), a)
		answer <- err
	}()
	<-begun
	server.Stop()
	eventually(t, "the outage is noticed", func() bool { return !publisher.State().Connected })
	close(end) // and so the answer is due while nobody can be reached
	server.Restart()
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

func TestAct_TimeoutSaysThatTheOutcomeIsUnknown(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	end := make(chan struct{})
	calls := make(chan string, 8)
	serveActions(t, server.Connect(t), func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		calls <- a.Key
		<-end
		return done(ctx, a)
	})
	a := restart("slow")
	a.Timeout = 50 * time.Millisecond
	began := time.Now()
	_, err := edge.Act(within(t), a)
	wantCode(t, err, bus.CodeTimeout)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(err.Error(), "outcome is unknown") {
		t.Errorf("it says %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-calls // of slow
		<-calls // of left: it has arrived
		cancel()
	}()
	_, err = edge.Act(ctx, restart("left"))
	wantCode(t, err, bus.CodeTimeout)
	close(end)
	if len(calls) != 0 {
		t.Errorf("%q was asked for again", <-calls)
	}
}

// Only the publisher knows a container's stop grace, so it says how long a stop takes.
func TestAct_WaitsForAsLongAsThePublisherSays(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	edge := server.Connect(t)
	serveActions(t, server.Connect(t), func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		a.TakesUpTo(time.Minute)
		time.Sleep(2500 * time.Millisecond) // longer than anybody would wait who was told nothing
		return done(ctx, a)
	})
	a := restart("k")
	a.Deadline = time.Now().Add(100 * time.Millisecond)
	if _, err := edge.Act(within(t), a); err != nil {
		t.Error(err)
	}
}

func TestServe_WhatWasHeldUpOnItsWayIsLate(t *testing.T) {
	server := bustest.New(t)
	left := make(chan time.Duration, 1)
	late := make(chan bool, 1)
	serveActions(t, server.Connect(t), func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		left <- time.Until(a.Deadline)
		late <- a.Late()
		return done(ctx, a)
	})
	stranger := dial(t, server)
	for name, c := range map[string]struct {
		underway, within time.Duration
		least, most      time.Duration
	}{
		"at once":                     {0, 10 * time.Second, 5 * time.Second, 10 * time.Second},
		"clocks a little apart":       {4 * time.Second, 10 * time.Second, 5 * time.Second, 10 * time.Second},
		"the edge's clock is ahead":   {-time.Hour, 10 * time.Second, 5 * time.Second, 10 * time.Second},
		"held up, and still in time":  {20 * time.Second, time.Minute, 30 * time.Second, 40 * time.Second},
		"held up for too long":        {20 * time.Second, 15 * time.Second, -15 * time.Second, -5 * time.Second},
		"held up for ever":            {1000 * time.Hour, time.Minute, -3 * time.Hour, -time.Hour},
		"nothing was left":            {0, 0, -5 * time.Second, 0},
		"less than nothing was left":  {0, -1 << 62, -3 * time.Hour, -time.Hour},
		"no clock knows such a point": {-1 << 62, 10 * time.Second, 5 * time.Second, 10 * time.Second},
	} {
		request, err := json.Marshal(map[string]any{
			"key": "k", "host": "web-1", "container": "api", "action": "restart",
			"begin_within_ms": c.within.Milliseconds(), "sent_at": time.Now().Add(-c.underway).UnixMilli(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.Request("tidings.act.web-1", request, patience); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := <-left; got < c.least || got > c.most {
			t.Errorf("%s: %v are left, want %v to %v", name, got, c.least, c.most)
		}
		if got := <-late; got != (c.most <= 0) {
			t.Errorf("%s: late is %v", name, got)
		}
	}
}

func TestServe_StrangersRequestsAreRefusedAndCounted(t *testing.T) {
	server := bustest.New(t)
	registry := prometheus.NewRegistry()
	publisher := server.Connect(t, func(c *bus.Config) { c.Registerer = registry })
	serveActions(t, publisher, func(context.Context, bus.Action) (bus.ActionResult, error) {
		t.Error("it was handled")
		return bus.ActionResult{}, nil
	})
	stranger := dial(t, server)
	requests := []string{
		"", "null", "[]", `{"key":1}`,
		`{"key":"k","host":"web-2","container":"api","action":"stop","begin_within_ms":9999}`,
		`{"key":"k","host":"web-1","container":"api","action":"exec","begin_within_ms":9999}`,
		`{"key":"k","host":"web-1","container":"../api","action":"stop","begin_within_ms":9999}`,
		`{"key":"k","host":"web-1","container":"api","action":"stop","begin_within_ms":9999,"timeout_ms":9223372036854775807}`,
	}
	for _, r := range requests {
		answer, err := stranger.Request("tidings.act.web-1", []byte(r), patience)
		if err != nil || answer.Header.Get(micro.ErrorCodeHeader) != bus.CodeBadRequest {
			t.Errorf("%s: got %v, %v", r, answer, err)
		}
	}
	send(t, stranger, &nats.Msg{Subject: "tidings.act.web-1", Data: []byte(`{"key":"k","host":"web-1","container":"api","action":"stop","begin_within_ms":9999}`)})
	eventually(t, "all are counted", func() bool {
		return metric(t, registry, "tidings_bus_actions_unserved_total", "malformed") == float64(len(requests)+1)
	})
}

func TestServe_IsListedAmongNATSServices(t *testing.T) {
	server := bustest.New(t)
	serveActions(t, server.Connect(t), done)
	stranger := dial(t, server)
	answer, err := stranger.Request("$SRV.INFO.tidings-publisher", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Version != "1.2.3" || info.Metadata["host"] != "web-1" || len(info.Endpoints) != 1 || info.Endpoints[0].Subject != "tidings.act.web-1" {
		t.Errorf("it says of itself: %s", answer.Data)
	}
}

func TestServe_MoreThanItMaySeeToAreRefused(t *testing.T) {
	server := bustest.New(t)
	edge, publisher := server.Connect(t), server.Connect(t)
	end := make(chan struct{})
	begun := make(chan struct{}, 200)
	serveActions(t, publisher, func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		begun <- struct{}{}
		<-end
		return done(ctx, a)
	})
	answers := make(chan error, 128)
	for n := range 128 {
		go func() {
			_, err := edge.Act(context.Background(), restart(fmt.Sprint(n)))
			answers <- err
		}()
	}
	for range 128 {
		<-begun
	}
	_, err := edge.Act(within(t), restart("one more"))
	wantCode(t, err, bus.CodeTooManyRequests)
	close(end)
	for range 128 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

func TestServe_StopWaitsForWhatRuns(t *testing.T) {
	server := bustest.New(t)
	edge := server.Connect(t)
	begun, end := make(chan struct{}), make(chan struct{})
	stop := serveActions(t, server.Connect(t), func(ctx context.Context, a bus.Action) (bus.ActionResult, error) {
		close(begun)
		<-end
		return done(ctx, a)
	})
	answer, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := edge.Act(context.Background(), restart("k"))
		answer <- err
	}()
	<-begun
	go func() { stopped <- stop(context.Background()) }()
	eventually(t, "nothing more is taken", func() bool {
		_, err := edge.Act(t.Context(), restart("late"))
		refusal, _ := errors.AsType[*bus.ActionError](err)
		return refusal != nil && refusal.Code == bus.CodeHostOffline
	})
	select {
	case err := <-stopped:
		t.Errorf("it has stopped: %v", err)
	default:
	}
	close(end)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

func TestServe_StopAndCloseEndWhatDoesNotEnd(t *testing.T) {
	server := bustest.New(t)
	for name, end := range map[string]func(*bus.Conn, func(context.Context) error){
		"stop": func(_ *bus.Conn, stop func(context.Context) error) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := stop(ctx); err == nil {
				t.Error("nothing is said of the action that was cut off")
			}
		},
		"close": func(c *bus.Conn, _ func(context.Context) error) { c.Close() },
	} {
		edge, publisher := server.Connect(t), server.Connect(t)
		begun := make(chan struct{})
		stop := serveActions(t, publisher, func(ctx context.Context, _ bus.Action) (bus.ActionResult, error) {
			close(begun)
			<-ctx.Done()
			return bus.ActionResult{}, &bus.ActionError{Code: bus.CodeTimeout, Message: "stopped"}
		})
		answer := make(chan error, 1)
		go func() {
			a := restart("k")
			a.Timeout = 100 * time.Millisecond
			_, err := edge.Act(context.Background(), a)
			answer <- err
		}()
		<-begun
		end(publisher, stop)
		t.Log(name)
		wantCode(t, <-answer, bus.CodeTimeout)
		if err := publisher.Flush(t.Context()); name == "close" && !errors.Is(err, bus.ErrClosed) {
			t.Errorf("the line is open: %v", err)
		}
	}
}

func TestActionLists_AreThoseOfTheProtocol(t *testing.T) {
	var codes []string
	for _, code := range wire.Codes {
		codes = append(codes, string(code))
	}
	if !slices.Equal(codes, bus.ActionCodes) {
		t.Errorf("codes are %v here and %v on sockets", bus.ActionCodes, codes)
	}
	var verbs []bus.Verb
	for _, verb := range wire.Verbs {
		verbs = append(verbs, bus.Verb(verb))
	}
	if !slices.Equal(verbs, bus.Verbs) {
		t.Errorf("verbs are %v here and %v on sockets", bus.Verbs, verbs)
	}
}
