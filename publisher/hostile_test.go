package publisher

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"tidings/bus"
)

// TestAttack_Containers is an edge that was taken over, and passes on for a container what no edge would.
func TestAttack_Containers(t *testing.T) {
	s := act(t)
	var looked atomic.Int32
	s.rack.find = func(wanted string) (Target, error) {
		looked.Add(1)
		return Target{}, refusal(bus.CodeNotFound, "%s is looked for", wanted)
	}
	nc, err := nats.Connect(s.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(key, container string) string {
		t.Helper()
		request, err := json.Marshal(map[string]any{"key": key, "host": "web-1", "container": container, "action": "kill", "begin_within_ms": 9999, "sent_at": time.Now().UnixMilli(), "token": "ada", "edge": "evil"})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := nc.Request("tidings.act.web-1", request, soon)
		if err != nil {
			t.Fatalf("%.80q: %v", container, err)
		}
		return answer.Header.Get(micro.ErrorCodeHeader)
	}
	before := len(s.lines())
	for _, container := range []string{
		"", ">", "*", ".", "..", "../", "../../images/json", "/api", "api/", "api/../db", "%2e%2e", "api%2f", "?force=1", "api?force=1", "api#x", "api ", " ", "\t",
		"api\r\nX: y", "api\x00", "$JS.API.STREAM.PURGE.TIDINGS", "_INBOX.x", "-f", "api\u212a", "\ufeffapi", strings.Repeat("a", 256), strings.Repeat("../", 1000),
	} {
		if code := ask("k", container); code != bus.CodeBadRequest {
			t.Errorf("%.80q: got %q", container, code)
		}
	}
	if n := looked.Load(); n != 0 {
		t.Errorf("the engine was asked to look for %d", n)
	}
	if n := len(s.lines()) - before; n != 0 {
		t.Errorf("%d are in the audit file", n)
	}
	if code := ask("k", "api"); code != bus.CodeNotFound || looked.Load() != 1 {
		t.Errorf("a name got %q, and %d were looked for", code, looked.Load())
	}
}
