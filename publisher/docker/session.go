package docker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"tidings/publisher"
)

// gather is how long after a change the list goes out, so that changes of
// several containers at once make one list.
const gather = 50 * time.Millisecond

// session is one engine followed from when it was found until it was lost. All
// of it is owned by Watch's goroutine; others send it what they find.
type session struct {
	*Source
	engine *engine
	roster *roster
	at     *position
	emit   publisher.Emit

	running sync.WaitGroup                 // every goroutine of the session
	late    chan container.InspectResponse // answers to recheck
	taps    map[string]*tap                // by container id; nil if the engine is asked at each beat
	due     <-chan time.Time               // when the list is to go out; nil: nothing has changed
	relist  *time.Ticker
}

// follow publishes the list, and from then on what happens, until the engine is
// lost. Everything that it starts has ended when it returns.
func (s *Source) follow(ctx context.Context, e *engine, known *roster, at *position, emit publisher.Emit) error {
	ctx, cancel := context.WithCancel(ctx)
	f := &session{
		Source: s, engine: e, roster: known, at: at, emit: emit,
		late:   make(chan container.InspectResponse),
		relist: time.NewTicker(s.listInterval),
	}
	if e.streams(s.interval) {
		f.taps = make(map[string]*tap)
	}
	defer func() {
		s.view.Store(nil)
		s.metrics.up.Set(0)
		f.relist.Stop()
		cancel()
		f.running.Wait()
	}()

	// The stream begins at a point in time before the list is read, so nothing
	// falls between the two.
	events := openStream(ctx, e, at.since(), &f.running)
	defer at.broke()
	if err := f.read(ctx, causeFound); err != nil {
		return err
	}
	s.metrics.up.Set(1)
	for {
		select {
		case a, more := <-events.arrivals:
			if !more {
				return fmt.Errorf("read events: %w", events.err)
			}
			f.arrive(ctx, a)
		case <-f.due:
			f.publish(causeChange)
		case <-f.relist.C:
			if err := f.read(ctx, causeInterval); err != nil {
				return err
			}
		case in := <-f.late:
			f.check(ctx, in)
		}
	}
}

// read asks the engine for all containers, and publishes the list.
func (f *session) read(ctx context.Context, cause string) error {
	list, err := f.engine.list(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	records := make([]Container, len(list))
	exists := make([]bool, len(list))
	parallel(len(list), func(i int) {
		in, err := f.engine.inspect(ctx, list[i].ID, patience/2)
		switch {
		case err == nil:
			records[i] = f.reader.inspected(f.engine.runtime.Name, in)
		case errdefs.IsNotFound(err):
			return // removed since it was listed
		default:
			// One that the engine has trouble with doesn't keep the others from being
			// listed.
			records[i] = f.reader.listed(f.engine.runtime.Name, list[i])
		}
		exists[i] = true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	present := records[:0]
	for i, c := range records {
		if exists[i] {
			present = append(present, c)
		}
	}
	f.roster.replace(present)
	f.changed(ctx)
	f.publish(cause)
	return nil
}

// publish sends the list.
func (f *session) publish(cause string) {
	f.due = nil
	f.metrics.lists.WithLabelValues(cause).Inc()
	f.emit(publisher.Reading{Type: typeContainers, Payload: f.roster.list(time.Now())})
}

// arrive takes the next of the engine's events.
func (f *session) arrive(ctx context.Context, a arrival) {
	fresh, outcome := f.at.take(a.message)
	if outcome != "" {
		f.metrics.breaks.WithLabelValues(outcome).Inc()
	}
	if outcome == breakLost {
		f.logger.Warn("the engine has forgotten events since the break; the list holds, what led to it is lost")
	}
	if !fresh {
		return
	}
	if id, ok := changedNetworks(a.message); ok {
		// A container that starts or stops has events of its own, with its networks.
		if c := f.roster.get(id); c != nil && c.up() {
			f.recheck(ctx, id)
		}
		return
	}
	if !a.news {
		return
	}
	var now *Container
	if a.inspected != nil {
		if in, ok := <-a.inspected; ok {
			c := f.reader.inspected(f.engine.runtime.Name, in)
			now = &c
		} else if a.event.name != eventDie { // a container may well remove itself
			f.recheck(ctx, a.event.id)
		}
	}
	record := f.reader.after(f.roster.get(a.event.id), a.event, now, f.engine.runtime.Name)
	if a.event.name == eventDestroy {
		f.roster.remove(a.event.id)
	} else {
		f.roster.put(record)
	}
	f.changed(ctx)

	record.Status = record.Course.status(a.event.at)
	f.metrics.events.WithLabelValues(a.event.name).Inc()
	f.emit(publisher.Reading{Type: typeEvents, Payload: Event{
		ID: a.event.id, Name: record.Name, Event: a.event.name, At: a.event.at.UnixMilli(),
		ExitCode: a.event.exitCode, Signal: a.event.signal, Container: record,
	}})
}

// recheck asks for a container once more, and leaves the engine time to answer.
func (f *session) recheck(ctx context.Context, id string) {
	f.running.Go(func() {
		in, err := f.engine.inspect(ctx, id, patience)
		if err != nil {
			return // it is gone, or the next list tells
		}
		select {
		case f.late <- in:
		case <-ctx.Done():
		}
	})
}

// check takes an answer to recheck. What it says of the container's course is
// left to the events, which may not have arrived yet.
func (f *session) check(ctx context.Context, in container.InspectResponse) {
	before := f.roster.get(in.ID)
	if before == nil {
		return
	}
	c := f.reader.inspected(f.engine.runtime.Name, in)
	c.Course = before.Course
	f.roster.put(c)
	f.changed(ctx)
}

// changed makes a list due, unless one is, and shows Read who is running.
func (f *session) changed(ctx context.Context) {
	if f.due == nil {
		f.due = time.After(gather)
	}
	running := f.roster.running()
	subjects := make([]subject, len(running))
	for i, c := range running {
		subjects[i] = subject{id: c.ID, started: c.StartedAt}
	}
	f.tap(ctx, subjects)
	f.view.Store(&view{engine: f.engine, running: subjects, tapped: f.taps != nil})
}
