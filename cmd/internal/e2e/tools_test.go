//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/bus/bustest"
)

// rows makes of what sub printed the messages that came, and fails at a line that is none.
func rows(t testing.TB, lines []string) (messages []message) {
	t.Helper()
	for _, text := range lines {
		m := message{raw: strings.TrimSuffix(text, "\n")}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%q is no message: %v", text, err)
		}
		messages = append(messages, m)
	}
	return messages
}

func TestSub_PrintsWhatPubPublished(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	people := start(t, "tidings", "sub", "--url", r.socket, "demo.*")
	scripts := start(t, "tidings", "sub", "--url", r.socket, "--json", "demo.>")
	stranger := dial(t, r.socket)
	epoch := stranger.subscribe("demo.>")[0].Epoch
	subscribed(t, r, 3)

	seq := strings.TrimSpace(tool(t, "", 0, "pub", "--nats", r.nats, "demo.hello", `{"text": "grüß <dich> \u0041"}`))
	came := stranger.await("demo.hello", "what was published", always)
	if fmt.Sprint(came.Seq) != seq {
		t.Errorf("pub printed %s, and the stranger got %v", seq, came)
	}
	if got := scripts.lines(1)[0]; got != came.raw+"\n" {
		t.Errorf("sub --json printed %q, and what came was %q", got, came.raw)
	}
	if got := people.lines(1)[0]; !strings.HasSuffix(got, " demo.hello #"+seq+` {"text":"grüß <dich> \u0041"}`+"\n") {
		t.Errorf("sub printed %q", got)
	}
	for _, p := range []*program{people, scripts} {
		p.signal(syscall.SIGINT)
		if code := p.exit(); code != 0 || !strings.Contains(p.stdout.String(), "demo.hello") {
			t.Errorf("ended with %d: %s", code, p.stderr)
		}
	}
	want := "to go on from here: --since " + epoch + ":" + seq
	if !strings.Contains(people.stderr.String(), want) {
		t.Errorf("not %q, but %q", want, people.stderr)
	}
	if scripts.stderr.String() != "" {
		t.Errorf("for scripts it says: %s", scripts.stderr)
	}
}

// subscribed waits until so many patterns are subscribed to, over all clients.
func subscribed(t testing.TB, r tidings, patterns int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d subscriptions", patterns), patience, func() error {
		if n := metric(t, r.admin, "tidings_edge_subscriptions"); n != float64(patterns) {
			return fmt.Errorf("there are %v", n)
		}
		return nil
	})
}

func TestPub_TakesStandardInputAndRefusesWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	printed := tool(t, "{\"n\":1}\n{\"n\":\n 2}[3] \"four\"\n", 0, "pub", "--nats", r.nats, "demo.stream", "-")
	places := strings.Fields(printed)
	got := rows(t, strings.SplitAfter(strings.TrimSpace(tool(t, "", 0, "sub", "--url", r.socket, "--json", "--last", "10", "--count", "4", "demo.stream")), "\n"))
	want := []string{`{"n":1}`, `{"n":2}`, `[3]`, `"four"`}
	if len(places) != len(want) {
		t.Fatalf("pub printed %q", printed)
	}
	for i, m := range got {
		if string(m.Payload) != want[i] || fmt.Sprint(m.Seq) != places[i] {
			t.Errorf("%v is not %s at %s", m, want[i], places[i])
		}
	}
	chained(t, got)

	// What is right is published until the first that is not.
	code, stdout, stderr := invoke(t, `{"n":5} {"n":oops} {"n":6}`, "tidings", "pub", "--nats", r.nats, "demo.stream")
	if code != 65 || len(strings.Fields(stdout)) != 1 || !strings.Contains(stderr, "message 2: is no JSON") {
		t.Errorf("ended with %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = invoke(t, "", "tidings", "pub", "--nats", r.nats, "demo.refused", "hello")
	if code != 65 || stdout != "" || !strings.Contains(stderr, "is no JSON") {
		t.Errorf("ended with %d: %s%s", code, stdout, stderr)
	}
	tool(t, "", 3, "last", "--url", r.socket, "demo.refused")
	if last := tool(t, "", 0, "last", "--url", r.socket, "demo.stream"); !strings.Contains(last, `{"n":5}`) {
		t.Errorf("last is %s", last)
	}
}

func TestLast_PrintsTheLastOfEachTopicAndEnds(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	tool(t, "1 2 3", 0, "pub", "--nats", r.nats, "demo.a", "-")
	tool(t, "4 5", 0, "pub", "--nats", r.nats, "demo.b.c", "-")
	lines := strings.Split(strings.TrimSpace(tool(t, "", 0, "last", "--url", r.socket, "demo.>")), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], " demo.a #"+place(t, lines[0])+" 3") || !strings.HasSuffix(lines[1], " demo.b.c #"+place(t, lines[1])+" 5") {
		t.Errorf("printed %q", lines)
	}
	got := rows(t, strings.Split(strings.TrimSpace(tool(t, "", 0, "last", "--url", r.socket, "--json", "demo.*")), "\n"))
	if len(got) != 1 || string(got[0].Payload) != "3" || got[0].Prev == 0 || got[0].Prev >= got[0].Seq {
		t.Errorf("printed %v", got)
	}
	tool(t, "", 3, "last", "--url", r.socket, "nothing.>")
}

// place is what a line says after its #.
func place(t testing.TB, line string) string {
	t.Helper()
	_, rest, _ := strings.Cut(line, "#")
	seq, _, _ := strings.Cut(rest, " ")
	if _, err := strconv.ParseUint(seq, 10, 64); err != nil {
		t.Fatalf("no place in %q", line)
	}
	return seq
}

func TestSub_BeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	r := run(t, t.TempDir())
	places := strings.Fields(tool(t, "1 2 3 4 5 6 7", 0, "pub", "--nats", r.nats, "demo.steps", "-"))
	epoch := epochAt(t, r.socket)
	payloads := func(args ...string) (all []string) {
		args = append([]string{"sub", "--url", r.socket, "--json", "demo.steps"}, args...)
		for _, m := range rows(t, strings.SplitAfter(strings.TrimSpace(tool(t, "", 0, args...)), "\n")) {
			all = append(all, string(m.Payload))
		}
		return all
	}
	if got := payloads("--last", "3", "--count", "3"); strings.Join(got, " ") != "5 6 7" {
		t.Errorf("the last 3 are %v", got)
	}
	if got := payloads("--since", epoch+":"+places[1], "--count", "5"); strings.Join(got, " ") != "3 4 5 6 7" {
		t.Errorf("after the second come %v", got)
	}
	// Of another life of the stream nothing can be said, and that is told.
	stale := start(t, "tidings", "sub", "--url", r.socket, "--since", "nosuch:1", "demo.steps")
	if got := stale.lines(1)[0]; !strings.Contains(got, "demo.steps") || !strings.Contains(got, "epoch") {
		t.Errorf("of another epoch: %q", got)
	}
}

// An edge that is restarted, cleanly or not, costs who follows nothing, and doubles nothing.
func TestSub_FollowsOverRestartsOfTheEdge(t *testing.T) {
	t.Parallel()
	server := bustest.New(t)
	// A client may wait for 5 s and more before it comes back, in which more is published than a stream keeps by default.
	env := append([]string{"TIDINGS_DRAIN_GRACE=300ms", "TIDINGS_DRAIN_WINDOW=100ms"}, plenty...)
	e := launchEdge(t, server, env)
	stop := counting(t, server, "demo.numbers", 5*time.Millisecond)
	sub := start(t, "tidings", "sub", "--url", e.socket, "--json", "--last", "1000", "demo.numbers")
	sub.lines(50)
	restart := func() { // which takes so long that several messages are published while no edge is there
		t.Helper()
		e = launchEdge(t, server, env, "--listen", address(e.socket))
	}
	e.kill()
	had := len(sub.lines(1))
	restart()
	sub.lines(had + 50)
	if code := e.stop(); code != 0 {
		t.Errorf("the edge ended with %d", code)
	}
	had = len(sub.lines(1))
	restart()
	sub.lines(had + 50)
	last := stop()
	complete(t, rows(t, sub.lines(last)), 1, last)
	if said := sub.stderr.String(); strings.Count(said, "connected again") < 2 {
		t.Errorf("it says: %s", said)
	}
}

func TestTools_WithoutAnEdgeSayWhatToDo(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	for _, args := range [][]string{
		{"sub", "--url", "ws://" + nobody + "/ws", "demo.*"},
		{"last", "--url", "ws://" + nobody + "/ws", "demo.*"},
		{"pub", "--nats", "nats://" + nobody, "--timeout", "300ms", "demo.x", "1"},
	} {
		code, stdout, stderr := invoke(t, "", "tidings", args...)
		if code != 75 || stdout != "" || !strings.Contains(stderr, "tidings run") {
			t.Errorf("%v ended with %d: %s%s", args, code, stdout, stderr)
		}
	}
}
