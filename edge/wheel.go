package edge

import "time"

// tick is the precision of all timers of a loop.
const tick = 50 * time.Millisecond

// span is how far ahead a wheel can tell, in ticks; later timers go round.
const span = 1024

// timer is a time at which a loop looks after one of its connections. Timers are not cancelled: whoever is
// called looks whether there is anything to do, and the generation tells if it is still the same connection.
type timer struct {
	slot uint32
	gen  uint32
	at   uint32 // in ticks, of which there are enough for six years
	kind timerKind
}

type timerKind uint8

const (
	handshakeTimer timerKind = iota // the upgrade request has to be whole
	heartbeatTimer                  // a ping is due
	slowTimer                       // the socket has taken nothing for a while
	askTimer                        // the stream may be asked again
	paceTimer                       // a value may be sent again (interval_ms)
	pendingTimer                    // a subscribe still waits for NATS
	closeTimer                      // the other side has had time to answer a close
	sessionTimer                    // a session is to be looked at that ends some time
	leaveTimer                      // this connection's turn to be asked to leave
	deadlineTimer                   // the time is over that it was given for that
)

// wheel is a loop's timing wheel.
type wheel struct {
	start   time.Time
	now     int64 // ticks that have been called
	pending int
	buckets [span][]timer
	spare   []timer
}

func (w *wheel) ticks(t time.Time) int64 { return int64(t.Sub(w.start) / tick) }

// add sets a timer for t, rounded up to the next tick.
func (w *wheel) add(t time.Time, tm timer) {
	tm.at = uint32(max(w.ticks(t)+1, w.now+1))
	w.put(tm)
	w.pending++
}

func (w *wheel) put(tm timer) {
	at := min(int64(tm.at), w.now+span-1)
	b := &w.buckets[at%span]
	*b = append(*b, tm)
}

// next is when advance has something to do; zero: never.
func (w *wheel) next() time.Time {
	if w.pending == 0 {
		return time.Time{}
	}
	for t := w.now + 1; ; t++ {
		if len(w.buckets[t%span]) > 0 {
			return w.start.Add(time.Duration(t) * tick)
		}
	}
}

// advance calls fire for each timer that has come due by t.
func (w *wheel) advance(t time.Time, fire func(timer)) {
	for end := w.ticks(t); w.now < end; {
		if w.pending == 0 {
			w.now = end
			return
		}
		w.now++
		b := &w.buckets[w.now%span]
		if len(*b) == 0 {
			continue
		}
		due := *b
		*b = w.spare[:0]
		for _, tm := range due {
			if int64(tm.at) > w.now {
				w.put(tm)
				continue
			}
			w.pending--
			fire(tm)
		}
		w.spare = due
	}
}
