package host

import (
	"sync"
	"time"
)

// slow is a value whose reading may take long or never come back: a statfs on a
// mount whose server is gone, a sensor behind a bus. It is read on a goroutine of
// its own, of which there is never more than one, so a reading that hangs costs
// that goroutine until the kernel lets go of it, and no beat.
type slow[T any] struct {
	every time.Duration // least time between two readings
	keep  time.Duration // age from which a value is unknown
	read  func() (T, error)

	mu      sync.Mutex
	reading chan struct{} // closed when the reading under way has ended; nil: none is
	asked   time.Time
	value   T
	err     error
	at      time.Time // when value and err were had; zero: never
}

// ask starts a reading if one is due, and returns a channel that is closed when
// no reading is under way.
func (s *slow[T]) ask(now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading != nil {
		return s.reading
	}
	done := make(chan struct{})
	if !s.asked.IsZero() && now.Sub(s.asked) < s.every {
		close(done)
		return done
	}
	s.asked, s.reading = now, done
	go func() {
		value, err := s.read()
		s.mu.Lock()
		s.value, s.err, s.at, s.reading = value, err, time.Now(), nil
		s.mu.Unlock()
		close(done)
	}()
	return done
}

// last is the newest value, and false if there is none that is young enough.
func (s *slow[T]) last(now time.Time) (value T, err error, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || now.Sub(s.at) > s.keep {
		return value, nil, false
	}
	return s.value, s.err, true
}

// idle says whether no reading is under way.
func (s *slow[T]) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading == nil
}

// await waits until every channel is closed, or until enough.
func await(done []<-chan struct{}, enough <-chan time.Time) {
	for _, d := range done {
		select {
		case <-d:
		case <-enough:
			return
		}
	}
}
