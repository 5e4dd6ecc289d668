package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"tidings/bus"
	"tidings/bus/bustest"
	"tidings/cmd/internal/daemontest"
)

// Actions are off until both sides have switched them on; this is the edge's.
func TestEdge_PassesActionsOnWhereAllowed(t *testing.T) {
	const secret = "a secret that is long enough, but not to guess"
	t.Setenv("TIDINGS_DRAIN_WAIT", "0s")
	t.Setenv("TIDINGS_TOKENS_SECRET", secret)
	nats := bustest.New(t)
	stop, err := nats.Connect(t).ServeActions("web-1", func(_ context.Context, a bus.Action) (bus.ActionResult, error) {
		return bus.ActionResult{Host: a.Host, Container: a.Container, Action: a.Verb, State: "exited"}, nil
	}, bus.ServeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "tidings": map[string]any{"act": []string{"web-1.*.stop"}}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, `"code":"disabled"`},
		{[]string{"--allow-actions"}, `"state":"exited"`},
	} {
		args := append([]string{"edge", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--nats", nats.URL()}, c.flags...)
		edge := daemontest.Start(t, run, args...)
		daemontest.AwaitStatus(t, "http://"+edge.Await(edge.Stderr, admin)+"/readyz", 200)
		address := edge.Await(edge.Stderr, regexp.MustCompile(`"msg":"auth is tokens[^"]*","listen":"([^"]+)"`))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		conn, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"action","id":1,"host":"web-1","container":"api","action":"stop"}`)); err != nil {
			t.Fatal(err)
		}
		for {
			_, text, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), `"id":1`) {
				continue
			}
			if !strings.Contains(string(text), c.want) {
				t.Errorf("with %v got %s", c.flags, text)
			}
			break
		}
		conn.CloseNow()
		edge.Stop()
	}
}
