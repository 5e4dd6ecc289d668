//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
)

// browser is a Chromium with one page, driven by the DevTools protocol.
type browser struct {
	t        testing.TB
	conn     *websocket.Conn
	session  string // of the page
	calls    int
	troubles []string // what the page's console and the browser complained about
}

// startBrowser starts a Chromium that ends with the test.
func startBrowser(t testing.TB) *browser {
	t.Helper()
	path := chromium()
	if path == "" {
		lacking(t, "Chromium", "on Debian: apt-get install --no-install-recommends chromium")
	}
	dir, err := os.MkdirTemp("", "c") // t.TempDir's names are too long for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := launch(t, command{path: path, group: true, args: []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad", "--log-level=3",
		"--user-data-dir=" + dir, "--remote-debugging-port=0", "about:blank",
	}, env: []string{"DBUS_SESSION_BUS_ADDRESS=disabled:", "TMPDIR=" + dir}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, p.await(p.stderr, `DevTools listening on (ws://\S+)`), nil)
	if err != nil {
		t.Fatalf("reach Chromium: %v", err)
	}
	conn.SetReadLimit(16 << 20)
	b := &browser{t: t, conn: conn}
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil) // as a user does, so that all of its processes end and its files are whole
		p.exit()
		_ = conn.CloseNow()
	})

	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// chromium is its path, or "".
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// call asks the browser for something and waits until it is done.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.calls++
	if params == nil {
		params = struct{}{}
	}
	request := map[string]any{"id": b.calls, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.conn.Write(ctx, websocket.MessageText, text); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		_, text, err := b.conn.Read(ctx)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			b.t.Fatalf("%s: %v: %s", method, err, text)
		}
		switch {
		case answer.Method != "":
			b.heard(answer.Method, answer.Params)
			continue
		case answer.ID != b.calls:
			continue
		case answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error)
		case result != nil:
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatalf("%s: %v: %s", method, err, answer.Result)
			}
		}
		return
	}
}

// heard keeps what went wrong in the page: exceptions, and errors such as a file that its own policy forbids.
func (b *browser) heard(event string, params json.RawMessage) {
	var entry struct{ Entry struct{ Level, Text string } }
	_ = json.Unmarshal(params, &entry)
	if event == "Runtime.exceptionThrown" || event == "Log.entryAdded" && entry.Entry.Level == "error" {
		b.troubles = append(b.troubles, string(params))
	}
}

// evaluate returns what a JavaScript expression is in the page, as a string.
func (b *browser) evaluate(expression string) string {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		return fmt.Sprintf("exception: %s", answer.ExceptionDetails)
	}
	return fmt.Sprint(answer.Result.Value)
}

// becomes waits until an expression has a value that is right.
func (b *browser) becomes(what, expression string, right func(value string) bool) string {
	b.t.Helper()
	var value string
	eventually(b.t, what, patience, func() error {
		if value = b.evaluate(expression); !right(value) {
			return fmt.Errorf("%s is %s; troubles: %q", expression, value, b.troubles)
		}
		return nil
	})
	return value
}

func TestBrowser_ShowsThisMachineAndItsChangingCPU(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	r := run(t, t.TempDir())
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	b.call("Page.navigate", map[string]any{"url": r.page}, nil)
	b.becomes("the host's name", `document.querySelector("#hosts h3")?.textContent`, func(v string) bool { return v == name })
	// Of this machine one can't tell what it is, only that there is always more of it.
	meter := `document.querySelector("#hosts [role=meter][aria-label=CPU]")`
	cpu, history := meter+`?.getAttribute("aria-valuetext")`, meter+`?.closest(".meter").querySelector("polyline")?.getAttribute("points")`
	changes := func(what string) {
		t.Helper()
		b.becomes(what, cpu, func(v string) bool { return strings.Contains(v, " %") })
		first := b.evaluate(history)
		b.becomes(what+" to have a history that grows", history, func(v string) bool { return len(v) > 0 && v != first })
	}
	changes("the CPU's use")
	// Of one whose publisher is this test, one can.
	conn, err := nats.Connect(r.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish(t, conn, "host.zebra", `{"name":"Zebra <b>& co</b>"}`)
	const zebra = `[...document.querySelectorAll("#hosts article")].find(e => e.querySelector("h3").textContent === "Zebra <b>& co</b>")`
	for text, ratio := range map[string]string{"12 % of 4": "0.12", "3.4 % of 4": "0.034", "100 % of 4": "1"} {
		publish(t, conn, "metrics.zebra", `{"cpu":{"utilization":`+ratio+`,"logicalCount":4}}`)
		b.becomes("another host's CPU to be "+text, zebra+`?.querySelector("[aria-label=CPU]").getAttribute("aria-valuetext")`,
			func(v string) bool { return v == text })
	}
	const state = `document.getElementById("state").dataset.state`
	if got := b.evaluate(state); got != "live" {
		t.Errorf("the page's state is %s: %s", got, b.evaluate(`document.getElementById("state").textContent`))
	}
	if gaps := b.evaluate(`document.getElementById("gaps").textContent`); gaps != "0" {
		t.Errorf("%s gaps", gaps)
	}
	if len(b.troubles) > 0 {
		t.Errorf("troubles: %s", strings.Join(b.troubles, "\n"))
	}

	// It comes back by itself when Tidings does.
	r.kill()
	b.becomes("the page to say that it is not connected", state, func(v string) bool { return v == "wait" })
	r = run(t, r.dir, "--listen", address(r.page))
	b.becomes("the page to be connected again", state, func(v string) bool { return v == "live" })
	changes("the CPU's use after the restart")
	if gaps := b.evaluate(`document.getElementById("gaps").textContent`); gaps != "0" {
		t.Errorf("%s gaps", gaps)
	}
}
