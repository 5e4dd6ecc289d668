package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"tidings/publisher"
	"tidings/publisher/docker/dockertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(dockertest.Main(m)) }

// patience is generous: a busy machine is no fault. Promises in time are checked
// by the clocks of what arrived.
const testPatience = 30 * time.Second

// audience is who a source emits to: it keeps all readings as they would be
// published, with the time of their arrival.
type audience struct {
	source *Source

	mu       sync.Mutex
	lists    []seen[Containers]
	events   []seen[Event]
	stats    []seen[Stats]
	failures []error         // of beats
	news     chan struct{}   // closed and replaced at each reading
	ended    <-chan struct{} // when Watch has
}

type seen[T any] struct {
	at    time.Time
	value T
}

// follow runs a source as the publisher's runner does, until the test ends.
func follow(t *testing.T, c Config) *audience {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	source, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	a := &audience{source: source, news: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ended := make(chan struct{})
	a.ended = ended
	running.Go(func() {
		defer close(ended)
		if err := source.Watch(ctx, a.emit); err != ctx.Err() {
			t.Errorf("Watch broke: %v", err)
		}
	})
	running.Go(func() {
		beat := time.NewTicker(source.Interval())
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				if err := source.Read(ctx, a.emit); err != nil && ctx.Err() == nil {
					a.mu.Lock()
					a.failures = append(a.failures, err)
					a.mu.Unlock()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return a
}

func (a *audience) emit(r publisher.Reading) {
	now := time.Now()
	text, err := json.Marshal(r.Payload)
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.Type {
	case "containers":
		a.lists = append(a.lists, seen[Containers]{now, read[Containers](text)})
	case "container-events":
		a.events = append(a.events, seen[Event]{now, read[Event](text)})
	case "container-stats":
		a.stats = append(a.stats, seen[Stats]{now, read[Stats](text)})
	default:
		panic("emitted " + r.Type)
	}
	close(a.news)
	a.news = make(chan struct{})
}

func read[T any](text []byte) (value T) {
	if err := json.Unmarshal(text, &value); err != nil {
		panic(err)
	}
	return value
}

// until waits for a condition on what has arrived, under the lock.
func (a *audience) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(testPatience)
	for {
		a.mu.Lock()
		done, news := holds(), a.news
		a.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-time.After(20 * time.Millisecond): // not all that may come to hold is news
		case <-deadline:
			a.mu.Lock()
			defer a.mu.Unlock()
			t.Fatalf("never: %s; failures: %v; events:\n%s", what, a.failures, a.story(""))
		}
	}
}

// listed waits for the first list from place from on whose record of a container
// is right, and returns its place.
func (a *audience) listed(t *testing.T, id string, from int, right func(*Container) bool) (place int) {
	t.Helper()
	a.until(t, "a list with the right record of "+id, func() bool {
		for place = from; place < len(a.lists); place++ {
			if right(a.lists[place].value.of(id)) {
				return true
			}
		}
		return false
	})
	return place
}

// happened waits until an event of a container has arrived n times.
func (a *audience) happened(t *testing.T, id, event string, n int) {
	t.Helper()
	a.until(t, fmt.Sprintf("%s no. %d of %s", event, n, id), func() bool {
		have := 0
		for _, e := range a.events {
			if e.value.ID == id && e.value.Event == event {
				have++
			}
		}
		return have >= n
	})
}

// of is the events of one container. Only once all that is to come has come.
func (a *audience) of(id string) []Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	var its []Event
	for _, e := range a.events {
		if e.value.ID == id {
			its = append(its, e.value)
		}
	}
	return its
}

// story is the events of a container, or of all, in words.
func (a *audience) story(id string) string {
	var lines []string
	for _, e := range a.events {
		if id == "" || e.value.ID == id {
			lines = append(lines, tell(e.value))
		}
	}
	return strings.Join(lines, "\n")
}

func tell(e Event) string {
	text := fmt.Sprintf("%s %s: %s %s", e.Name, e.Event, e.Container.State, e.Container.Health)
	if e.ExitCode != nil {
		text += fmt.Sprintf(" code %d", *e.ExitCode)
	}
	if e.Signal != nil {
		text += fmt.Sprintf(" signal %d", *e.Signal)
	}
	return text
}

// of is a container's record in a list, or nil.
func (c Containers) of(id string) *Container {
	if i := slices.IndexFunc(c.Containers, func(c Container) bool { return c.ID == id }); i >= 0 {
		return &c.Containers[i]
	}
	return nil
}

// of is a container's figures, or nil.
func (s Stats) of(id string) *Stat {
	if i := slices.IndexFunc(s.Stats, func(s Stat) bool { return s.ID == id }); i >= 0 {
		return &s.Stats[i]
	}
	return nil
}

func (a *audience) count(c *prometheus.CounterVec, label string) float64 {
	return testutil.ToFloat64(c.WithLabelValues(label))
}
