package bustest

import (
	"context"
	"testing"
	"time"

	"tidings/bus"
)

// anew returns what waits until each of lines is ready over another connection than it has now. That it is ready would not do: it
// may not have noticed yet that NATS was away.
func anew(t testing.TB, lines []*bus.Conn) (wait func()) {
	before := make([]time.Time, len(lines))
	for i, c := range lines {
		before[i] = c.State().Since
	}
	return func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		for i, c := range lines {
			for {
				changed := c.Changed()
				if c.Ready() == nil && !c.State().Since.Equal(before[i]) {
					break
				}
				select {
				case <-changed:
				case <-ctx.Done():
					t.Fatalf("a line does not come back to the test's NATS: %v", c.Ready())
				}
			}
		}
	}
}
