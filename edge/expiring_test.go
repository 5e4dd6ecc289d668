package edge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	follow "tidings/edge/client"
)

// A client whose tokens live for two or three seconds comes back with the next one in time, and misses nothing over them.
func TestTokensThatLiveShortly_LoseNothing(t *testing.T) {
	i := newIssuer(t)
	c := newCluster(t)
	n := c.edge(i.takes)
	var tokens, lost atomic.Int64
	heard := make(chan follow.Message, 1<<10)
	follower, err := follow.New(follow.Config{
		URL: "ws://" + n.host + "/ws",
		Token: func(context.Context) (string, error) {
			tokens.Add(1)
			return i.token(grants{sub: "ada", subscribe: []string{"orders.>"}, expires: soon(2 * time.Second)}), nil
		},
		Handler: follow.Handler{
			Message:      func(m follow.Message) { heard <- m },
			Disconnected: func(error, time.Duration) { lost.Add(1) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Subscribe("orders.*", follow.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- follower.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	eventually(t, "it has subscribed", func() bool { return n.value("tidings_edge_subscriptions") == 1 })
	const lives = 4
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for last := 0; tokens.Load() <= lives; last++ {
		<-pace.C
		c.publish("orders.a", fmt.Sprint(last))
		select {
		case m := <-heard:
			if string(m.Payload) != fmt.Sprint(last) {
				t.Fatalf("got %s, want %d", m.Raw, last)
			}
		case <-time.After(patience):
			t.Fatalf("message %d did not come", last)
		}
	}
	if got := lost.Load(); got != 0 {
		t.Errorf("it was without a connection %d times", got)
	}
	if got := n.value("tidings_edge_closes_total", "code", "4401"); got != 0 {
		t.Errorf("%v connections ended with their tokens", got)
	}
}
