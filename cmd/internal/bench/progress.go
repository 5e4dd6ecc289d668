package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Phase is what a run is doing.
type Phase string

// The phases, in their order. After Settling a run is Idling, or else WarmingUp, Measuring and Finishing.
const (
	Connecting Phase = "connecting"
	Settling   Phase = "resting before memory is read"
	Idling     Phase = "idle"
	WarmingUp  Phase = "warming up"
	Measuring  Phase = "measuring"
	Finishing  Phase = "waiting for the last messages"
)

// Progress is how far a run has got.
type Progress struct {
	Phase     Phase
	Clients   int           // asked for
	Connected int           //
	Failed    int           // connections that could not be made
	Elapsed   time.Duration // of the phase; 0 where it has no end that is known
	Of        time.Duration
	PerSecond float64 // messages that arrive, over the last second
	P50, P99  time.Duration
}

// String is what somebody who waits wants to read.
func (p Progress) String() string {
	var b strings.Builder
	b.WriteString(string(p.Phase))
	if p.Of > 0 {
		fmt.Fprintf(&b, " %s of %s", p.Elapsed.Truncate(time.Second), p.Of)
	}
	if p.Phase == Connecting {
		fmt.Fprintf(&b, ": %s of %s clients", thousands(p.Connected), thousands(p.Clients))
	}
	if p.Failed > 0 {
		fmt.Fprintf(&b, ", %s failed", thousands(p.Failed))
	}
	if p.PerSecond > 0 {
		fmt.Fprintf(&b, ": %s messages a second", thousands(int(p.PerSecond)))
	}
	if p.P99 > 0 {
		fmt.Fprintf(&b, ", p50 %s, p99 %s", short(p.P50), short(p.P99))
	}
	return b.String()
}

// watchInterval is how often somebody who looks is told.
const watchInterval = 250 * time.Millisecond

// watch tells the progress of a run.
type watch struct {
	stop, ended chan struct{} // nil: nobody looks

	mu           sync.Mutex
	phase        Phase
	start, until time.Time
}

// begin starts telling, if there is somebody to be told.
func (w *watch) begin(r *run) {
	if r.cfg.Progress == nil {
		return
	}
	w.stop, w.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(w.ended)
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		var arrived []int64 // at the end of each interval of the last second
		for {
			select {
			case <-w.stop:
				return
			case <-ticker.C:
			}
			p := w.progress()
			p.Clients = r.cfg.Clients
			p.Connected, p.Failed = r.connector.count()
			t := r.count()
			arrived = append(arrived, t.arrived)
			if over := len(arrived) - int(time.Second/watchInterval) - 1; over > 0 {
				arrived = arrived[over:]
			}
			if n := len(arrived) - 1; n > 0 {
				p.PerSecond = float64(arrived[n]-arrived[0]) / (time.Duration(n) * watchInterval).Seconds()
			}
			p.P50, p.P99 = t.latency.at(50), t.latency.at(99)
			r.cfg.Progress(p)
		}
	}()
}

// enter notes that a phase begins, and when it will end if that is known.
func (w *watch) enter(p Phase, start, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase, w.start, w.until = p, start, until
}

func (w *watch) progress() Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := Progress{Phase: w.phase, Of: w.until.Sub(w.start)}
	if p.Of > 0 {
		p.Elapsed = min(max(time.Since(w.start), 0), p.Of)
	}
	return p
}

// end stops telling and waits.
func (w *watch) end() {
	if w.stop != nil {
		close(w.stop)
		<-w.ended
	}
}
