package publisher

import (
	"errors"
	"log/slog"
	"time"
)

// trouble logs something that fails again and again: its start, once a minute
// that it goes on, and its end.
type trouble struct {
	logger *slog.Logger
	what   string

	since  time.Time // zero: all is well
	times  int
	logged time.Time
}

// report takes the outcome of one try.
func (t *trouble) report(err error) {
	now := time.Now()
	if err == nil {
		if t.times > 0 {
			t.logger.Info("works again", "was", t.what, "times", t.times, "for", now.Sub(t.since).Round(time.Millisecond))
		}
		t.since, t.times, t.logged = time.Time{}, 0, time.Time{}
		return
	}
	if t.times == 0 {
		t.since = now
	}
	t.times++
	if t.logged.IsZero() || now.Sub(t.logged) >= repeatLog {
		fields := []any{"error", err, "times", t.times}
		if p, ok := errors.AsType[panicked](err); ok {
			fields = append(fields, "stack", string(p.stack))
		}
		t.logger.Warn(t.what, fields...)
		t.logged = now
	}
}
