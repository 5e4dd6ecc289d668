package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

var quiet = slog.New(slog.DiscardHandler)

// steps records what parts did, in order. Run never lets two of them stop at once, so it needs no lock.
type steps []string

func (s *steps) part(name string, started chan<- string) Part {
	return Part{Name: name, Run: func(ctx context.Context) error {
		started <- name
		<-ctx.Done()
		*s = append(*s, name)
		return ctx.Err()
	}}
}

func TestRun_StopsInReverseOrder(t *testing.T) {
	var stopped steps
	started := make(chan string, 3)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		result <- Run(ctx, quiet, stopped.part("admin", started), stopped.part("edge", started), stopped.part("publisher", started))
	}()
	for range 3 {
		<-started
	}
	cancel()
	if err := <-result; err != nil {
		t.Errorf("stopping as asked is an error: %v", err)
	}
	if want := []string{"publisher", "edge", "admin"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %v, want %v", stopped, want)
	}
}

func TestRun_FailingPartStopsAll(t *testing.T) {
	var stopped steps
	started := make(chan string, 3)
	broken := errors.New("broken")
	err := Run(context.Background(), quiet,
		stopped.part("admin", started),
		Part{Name: "edge", Run: func(context.Context) error { <-started; <-started; return broken }},
		stopped.part("publisher", started),
	)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "edge: broken") {
		t.Errorf("got %v", err)
	}
	if want := []string{"publisher", "admin"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %v, want %v", stopped, want)
	}
}

func TestRun_TellsErrorsOfStopping(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	slow := errors.New("could not publish what was due")
	err := Run(ctx, quiet, Part{Name: "publisher", Run: func(ctx context.Context) error { <-ctx.Done(); return slow }})
	if !errors.Is(err, slow) {
		t.Errorf("got %v", err)
	}
}
