package docker

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

const (
	// promptness is how long the record of an event's container is waited for.
	// Without it the event goes out with what is known: the engine tells nothing
	// of a container that is just starting, and one slow start must not hold up
	// the events of all others.
	promptness = 250 * time.Millisecond

	// backlog is how many events wait for their turn. Docker drops events for
	// one who doesn't take them.
	backlog = 4096
)

// arrival is an event with the answer, when it is there, to what the engine says
// of its container.
type arrival struct {
	message   events.Message
	event     event // if news
	news      bool
	inspected <-chan container.InspectResponse // closed without a value: no answer
}

// stream reads an engine's events from a point in time on. It asks for the
// containers of all events at once, so that those behind one slow answer have
// theirs when it comes.
type stream struct {
	engine   *engine
	arrivals chan arrival // closed when the stream has ended
	err      error        // why; readable once arrivals is closed
}

func openStream(ctx context.Context, e *engine, since string, running *sync.WaitGroup) *stream {
	s := &stream{engine: e, arrivals: make(chan arrival, backlog)}
	running.Go(func() { s.read(ctx, since, running) })
	return s
}

func (s *stream) read(ctx context.Context, since string, running *sync.WaitGroup) {
	defer close(s.arrivals)
	filters := make(client.Filters).Add("type", string(events.ContainerEventType), string(events.NetworkEventType))
	result := s.engine.client.Events(ctx, client.EventsListOptions{Since: since, Filters: filters})
	slots := make(chan struct{}, inFlight)
	for {
		select {
		case s.err = <-result.Err:
			return
		case m := <-result.Messages:
			a := arrival{message: m}
			if a.event, a.news = parseEvent(m); a.news && a.event.name != eventDestroy {
				answer := make(chan container.InspectResponse, 1)
				a.inspected = answer
				slots <- struct{}{}
				running.Go(func() {
					defer func() { <-slots; close(answer) }()
					if in, err := s.engine.inspect(ctx, a.event.id, promptness); err == nil {
						answer <- in
					}
				})
			}
			select {
			case s.arrivals <- a:
			case <-ctx.Done():
				s.err = ctx.Err()
				return
			}
		}
	}
}
