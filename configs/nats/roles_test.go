package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"

	"tidings/bus"
	"tidings/configs"
	"tidings/edge"
	"tidings/edge/client"
	"tidings/edge/wire"
	"tidings/publisher"
)

// reading is a source that emits one reading per beat.
type reading struct {
	kind    string
	payload any
}

func (r reading) Name() string            { return r.kind }
func (r reading) Interval() time.Duration { return 100 * time.Millisecond }
func (r reading) Read(_ context.Context, emit publisher.Emit) error {
	emit(publisher.Reading{Type: r.kind, Payload: r.payload})
	return nil
}

// runs starts run and ends it with the test.
func runs(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestRoles_DoTheirWork(t *testing.T) {
	h := open(t)

	// A publisher claims its name, publishes, and says goodbye.
	line := h.publisher("web-1")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := publisher.New(publisher.Config{Bus: line, Host: "web-1", Logger: log, Sources: []publisher.Source{
		reading{"host", map[string]string{"name": "web-1"}},
		reading{"metrics", map[string]int{"n": 1}},
		reading{"container-events", map[string]int{"n": 2}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, p.Run)

	// An edge serves what it published: a snapshot, live, and again what a client missed.
	e, err := edge.New(edge.Config{Bus: h.edge(), Listen: "127.0.0.1:0", Open: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, e.Run)
	url := "ws://" + e.Addr().String() + "/ws"
	took := follow(t, url, nil, 20)
	for _, want := range []bus.Topic{"host.web-1", "metrics.web-1", "container-events.web-1"} {
		if !slices.ContainsFunc(took, func(m client.Message) bool { return m.Topic == string(want) && m.Seq > 0 }) {
			t.Errorf("no %s among %d messages", want, len(took))
		}
	}
	epoch := h.admin.State().Epoch
	again := follow(t, url, &wire.Position{Epoch: epoch, Seq: took[9].Seq}, 20)
	if i := slices.IndexFunc(took, func(m client.Message) bool {
		return m.Topic == "container-events.web-1" && m.Seq > took[9].Seq
	}); i > 0 && !slices.ContainsFunc(again, func(m client.Message) bool { return m.Seq == took[i].Seq }) {
		t.Errorf("#%d was not sent again after #%d", took[i].Seq, took[9].Seq)
	}
}

// follow takes n messages of everything, from since if there is one.
func follow(t *testing.T, url string, since *wire.Position, n int) []client.Message {
	t.Helper()
	ctx, enough := context.WithTimeout(t.Context(), patience)
	defer enough()
	var took []client.Message
	c, err := client.New(client.Config{URL: url, Handler: client.Handler{Message: func(m client.Message) {
		if took = append(took, m); len(took) == n {
			enough()
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(">", client.Options{Since: since}); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx); err != nil || len(took) < n {
		t.Fatalf("%d messages of %d came: %v", len(took), n, err)
	}
	return took[:n]
}

// TestRoles_ReadAndReplay does what an edge does with many topics, pages of them, and several at once.
func TestRoles_ReadAndReplay(t *testing.T) {
	h := open(t)
	edge := h.edge()
	for i := range 1500 { // more than NATS answers at once
		if _, err := h.admin.Publish(t.Context(), bus.Topic(fmt.Sprintf("alerts.a%d", i%1100)), []byte(`{}`), bus.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	last, err := edge.Last(t.Context(), ">")
	if err != nil || len(last.Messages) != 1100 {
		t.Errorf("last: %d messages, %v", len(last.Messages), err)
	}
	tail, err := edge.LastN(t.Context(), "alerts.*", 2)
	if err != nil || len(tail.Messages) != 1500 {
		t.Errorf("last n: %d messages, %v", len(tail.Messages), err)
	}
	after, err := edge.After(t.Context(), 100, 0, ">")
	if err != nil || len(after.Messages) != 1400 || !after.Complete {
		t.Errorf("after: %d messages, complete: %v, %v", len(after.Messages), after.Complete, err)
	}
}

// TestRoles_Actions asks as an edge does, and answers as a publisher does: that it has begun, and how it ended.
func TestRoles_Actions(t *testing.T) {
	h := open(t)
	web1, edge := h.publisher("web-1"), h.edge()
	stop, err := web1.ServeActions("web-1", func(_ context.Context, a bus.Action) (bus.ActionResult, error) {
		a.TakesUpTo(time.Minute)
		if a.Container == "db" {
			return bus.ActionResult{}, &bus.ActionError{Code: bus.CodeProtected, Message: "it is protected"}
		}
		return bus.ActionResult{Host: a.Host, Container: a.Container, Action: a.Verb, Changed: true}, nil
	}, bus.ServeOptions{Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := web1.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := bus.Action{Key: "a", Host: "web-1", Container: "api", Verb: bus.Restart, Token: "t", Edge: "edge-0"}
	if result, err := edge.Act(t.Context(), ask); err != nil || !result.Changed {
		t.Errorf("the action got %+v, %v", result, err)
	}
	for _, c := range []struct{ host, container, code string }{{"web-1", "db", bus.CodeProtected}, {"web-2", "api", bus.CodeHostOffline}} {
		ask.Key, ask.Host, ask.Container = c.host+c.container, c.host, c.container
		_, err := edge.Act(t.Context(), ask)
		if refusal, ok := errors.AsType[*bus.ActionError](err); !ok || refusal.Code != c.code {
			t.Errorf("%s of %s: %v, want %s", c.container, c.host, err, c.code)
		}
	}
	if state := web1.State(); !state.Connected {
		t.Error("the publisher was sent away")
	}
	pong, err := h.thief("NATS_ADMIN", "_INBOX_admin").Request("$SRV.PING", nil, patience)
	if err != nil || !strings.Contains(string(pong.Data), "tidings-publisher") {
		t.Errorf("the operator lists publishers: %v, %v", pong, err)
	}
}

func TestRoles_NothingBeyond(t *testing.T) {
	h := open(t)
	web2 := h.publisher("web-2")
	if _, err := web2.Publish(t.Context(), "metrics.web-2", []byte(`{"true":1}`), bus.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	before, err := h.admin.StreamState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api := func(verb string) []string {
		return []string{"$JS.API." + verb, "tidings.js." + verb}
	}
	everybody := slices.Concat([]string{
		"tidings.live.metrics.web-2", "tidings.live.host.web-1", "tidings.live.x",
		"tidings.pub.metrics.web-2", "tidings.pub.host.web-2", "tidings.pub.metrics.web-3", "tidings.pub.x", "tidings.pub",
		"tidings.pub.metrics.web-1.x", "tidings.pub.alerts.web-1",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SRV.PING",
		"_INBOX.x", "_INBOX_tidings.web-2.x", "_INBOX_tidings.x", "_INBOX_admin.x", "$JS.ACK.TIDINGS.x",
		"$JS.EVENT.ADVISORY.STREAM.DELETED.TIDINGS", "$JS.FC.x",
	}, api("STREAM.DELETE.TIDINGS"), api("STREAM.PURGE.TIDINGS"), api("STREAM.UPDATE.TIDINGS"), api("STREAM.CREATE.OTHER"),
		api("STREAM.MSG.DELETE.TIDINGS"), api("STREAM.NAMES"), api("STREAM.LIST"), api("STREAM.INFO.OTHER"),
		api("STREAM.SNAPSHOT.TIDINGS"), api("STREAM.RESTORE.TIDINGS"), api("STREAM.LEADER.STEPDOWN.TIDINGS"), api("STREAM.PEER.REMOVE.TIDINGS"),
		api("CONSUMER.CREATE.TIDINGS"), api("CONSUMER.CREATE.TIDINGS.x"), api("CONSUMER.DURABLE.CREATE.TIDINGS.x"),
		api("CONSUMER.MSG.NEXT.TIDINGS.x"), api("DIRECT.GET.OTHER"), api("DIRECT.GET.TIDINGS.tidings.pub.metrics.web-2"), api("INFO"))
	roles := []struct {
		role, inbox     string
		publish, listen []string
	}{
		{"NATS_EDGE", "_INBOX_tidings", append(everybody, "tidings.pub.metrics.web-1", "tidings.act", "tidings.act.web-1.x", "_R_.x.y", "$JS.API.STREAM.MSG.GET.TIDINGS"), []string{
			">", "*.>", "tidings.>", "tidings.pub.>", "tidings.pub.metrics.web-1", "tidings.act.*", "tidings.act.web-1", "_INBOX.>", "_INBOX_admin.>", "_R_.>", "$JS.>", "$SYS.>", "$SRV.>", "tidings.js.>",
		}},
		{"NATS_PUBLISHER_WEB_1", "_INBOX_tidings.web-1", slices.Concat(everybody, []string{"tidings.act.web-1", "tidings.act.web-2"}, api("DIRECT.GET.TIDINGS"), api("STREAM.MSG.GET.TIDINGS")), []string{
			">", "*.>", "tidings.>", "tidings.pub.>", "tidings.pub.metrics.web-1", "tidings.live.>", "tidings.live.metrics.web-1",
			"tidings.act.*", "tidings.act.web-2", "_INBOX.>", "_INBOX_tidings.>", "_INBOX_tidings.web-2.>", "_INBOX_admin.>", "_R_.>", "$JS.>", "$SYS.>", "tidings.js.>",
		}},
	}
	for _, r := range roles {
		t.Run(r.role, func(t *testing.T) {
			thief := h.thief(r.role, r.inbox)
			for _, subject := range r.publish {
				if err := thief.Publish(subject, []byte(`{}`)); err != nil {
					t.Errorf("%s: %v", subject, err)
				}
				thief.refused(t, fmt.Sprintf("Publish to %q", subject))
			}
			for _, subject := range r.listen {
				if _, err := thief.SubscribeSync(subject); err != nil {
					t.Errorf("%s: %v", subject, err)
				}
				thief.refused(t, fmt.Sprintf("Subscription to %q", subject))
			}
			t.Logf("%d subjects to publish on and %d to subscribe to were refused", len(r.publish), len(r.listen))
		})
	}
	if after, err := h.admin.StreamState(t.Context()); err != nil || after != before {
		t.Errorf("the stream was %+v and is %+v, %v", before, after, err)
	}
}

// TestRoles_AnswersGoNowhereElse has NATS send answers to subjects that the one who asks may not write to. Permissions do
// not bind the server's answers; accounts do.
func TestRoles_AnswersGoNowhereElse(t *testing.T) {
	h := open(t)
	edge := h.edge()
	heard := edge.Listen(64)
	defer heard.Close()
	if err := heard.Add(">"); err != nil {
		t.Fatal(err)
	}
	if err := edge.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	targets := []string{
		"tidings.pub.metrics.web-2", "tidings.pub.host.web-2", "tidings.live.metrics.web-2", "tidings.act.web-2",
		"$JS.API.STREAM.PURGE.TIDINGS", "$JS.API.STREAM.DELETE.TIDINGS", "tidings.js.STREAM.PURGE.TIDINGS",
	}
	thief := h.thief("NATS_PUBLISHER_WEB_1", "_INBOX_tidings.web-1")
	own := "tidings.pub.host.web-1" // what it says of itself it may choose
	questions := []string{own, "tidings.js.STREAM.INFO.TIDINGS", "tidings.js.DIRECT.GET.TIDINGS." + own}
	stored := uint64(0)
	for _, target := range targets {
		for _, question := range questions {
			var body []byte
			if question == own {
				body, stored = []byte(`{}`), stored+1
			}
			if err := thief.PublishRequest(question, target, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A question of its own, after them: NATS has dealt with those before.
	for _, question := range questions {
		if _, err := thief.Request(question, []byte(`{}`), patience); err != nil && question != own {
			t.Fatalf("%s: %v", question, err)
		}
	}
	state, err := h.admin.StreamState(t.Context())
	if err != nil || state.LastSeq != stored+1 || state.Messages == 0 {
		t.Errorf("the stream is %+v after %d messages, %v", state, stored+1, err)
	}
	for range stored + 1 {
		select {
		case m := <-heard.C():
			if m.Subject != "tidings.live.host.web-1" {
				t.Errorf("an edge heard %s: %s", m.Subject, m.Data)
			}
		case <-time.After(patience):
			t.Fatal("an edge did not hear what the publisher may say")
		}
	}
	if len(thief.refusals) > 0 {
		t.Errorf("NATS refused what is allowed: %v", <-thief.refusals)
	}
	t.Logf("%d answers were sent elsewhere, and arrived nowhere", len(targets)*len(questions))
}

func TestStream_IsWhatTheProgramsWant(t *testing.T) {
	h := open(t)
	content, err := os.ReadFile("stream.json")
	if err != nil {
		t.Fatal(err)
	}
	var want jetstream.StreamConfig
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(h.thief("NATS_ADMIN", "_INBOX_admin").Conn)
	if err != nil {
		t.Fatal(err)
	}
	// The one that a program with stream.manage made, and the one of the file.
	made, err := js.Stream(t.Context(), "TIDINGS")
	if err != nil {
		t.Fatal(err)
	}
	is, _ := json.MarshalIndent(made.CachedInfo().Config, "", "  ")
	if err := js.DeleteStream(t.Context(), "TIDINGS"); err != nil {
		t.Fatal(err)
	}
	created, err := js.CreateStream(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	should, _ := json.MarshalIndent(created.CachedInfo().Config, "", "  ")
	if string(is) != string(should) {
		t.Errorf("programs make\n%s\nthe file makes\n%s", is, should)
	}
}

// Who sets this up has nats.conf's names in the environment, and starts the programs from there: they refuse names of theirs that
// they do not know.
func TestNames_LeaveTheProgramsAlone(t *testing.T) {
	open(t)
	t.Setenv("TIDINGS_TOKENS_SECRET", "a secret that is long enough, but not to guess")
	flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	configs.ForEdge.AddFlags(flags)
	if _, err := configs.ForEdge.Load(flags); err != nil {
		t.Error(err)
	}
}
