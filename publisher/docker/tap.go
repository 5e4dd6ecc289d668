package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"
)

// tap keeps the newest sample of one container at hand, from a stream that the
// engine writes one to each second.
type tap struct {
	started int64 // of the run that it is for
	newest  atomic.Pointer[draught]
	stop    context.CancelFunc
}

// draught is what came out of a tap: a sample, or why there is none.
type draught struct {
	sample sample
	err    error
	at     time.Time // by our clock
}

const (
	// stale is the age at which a sample is no news any more. Docker makes one
	// each second, when it isn't overloaded.
	stale = 5 * time.Second
	// streamsBelow is the interval from which on it costs an engine less to be
	// asked at each beat than to write each second.
	streamsBelow = 3 * time.Second
)

// streams says whether an engine's statistics are best had as streams. Docker
// makes them once a second for all who wait, so that asking takes up to a second
// and streams cost it less. Podman makes them when asked; its streams have one
// sample in five seconds.
func (e *engine) streams(interval time.Duration) bool {
	return e.runtime.Name == runtimeDocker && interval < streamsBelow
}

// tap opens a tap for each container that has come, and closes those of the
// containers that have gone.
func (f *session) tap(ctx context.Context, running []subject) {
	if f.taps == nil {
		return
	}
	left := f.taps
	f.taps = make(map[string]*tap, len(running))
	for i, who := range running {
		t := left[who.id]
		if t == nil || t.started != who.started {
			t = f.openTap(ctx, who)
		} else {
			delete(left, who.id)
		}
		f.taps[who.id] = t
		running[i].tap = t
	}
	for _, t := range left {
		t.stop()
	}
}

func (f *session) openTap(ctx context.Context, who subject) *tap {
	ctx, stop := context.WithCancel(ctx)
	t := &tap{started: who.started, stop: stop}
	f.running.Go(func() {
		defer stop()
		for ctx.Err() == nil {
			err := f.engine.stream(ctx, who.id, func(s sample) { t.newest.Store(&draught{sample: s, at: time.Now()}) })
			t.newest.Store(&draught{err: err, at: time.Now()})
			sleep(ctx, time.Second)
		}
	})
	return t
}

// stream calls take with each sample of a container, until it or ctx ends.
func (e *engine) stream(ctx context.Context, id string, take func(sample)) error {
	result, err := e.client.ContainerStats(ctx, id, client.ContainerStatsOptions{Stream: true})
	if err != nil {
		return err
	}
	defer result.Body.Close()
	samples := json.NewDecoder(result.Body)
	for {
		var a answer
		if err := samples.Decode(&a); err != nil {
			return err
		}
		if s, err := a.sample(); err == nil {
			take(s)
		}
	}
}

// ask takes one sample of a container.
func (e *engine) ask(ctx context.Context, id string) (sample, error) {
	result, err := e.client.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return sample{}, err
	}
	defer result.Body.Close()
	text, err := io.ReadAll(io.LimitReader(result.Body, 1<<20))
	if err != nil {
		return sample{}, err
	}
	return parseSample(text)
}

// draw is the newest sample, if it is recent.
func (t *tap) draw(now time.Time) (sample, error) {
	d := t.newest.Load()
	switch {
	case d == nil:
		return sample{}, errNotYet
	case d.err != nil:
		return sample{}, d.err
	case now.Sub(d.at) > stale:
		return sample{}, errStale
	}
	return d.sample, nil
}

var (
	errNotYet = errors.New("the engine has sent no statistics yet")
	errStale  = errors.New("the engine sends no statistics any more")
)
