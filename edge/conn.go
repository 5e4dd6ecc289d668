package edge

import (
	"net/netip"
	"time"

	"tidings/edge/poll"
)

// conn is one client's connection. It belongs to its loop, all of it. An idle one is this struct, its subs, and a
// number in the list of each feed it subscribes to; whatever only some need hangs off it by a pointer.
type conn struct {
	// Marked for each delivery, hence first and together.
	stamp uint64 // the last frame that reached it, in the loop's count: a message arrives once
	head  int32  // its chain of dues in this turn; none: -1
	tail  int32
	state connState
	slow  bool // not by the chain: it lags, paces some topics, or is ahead

	// The connection's life.
	deflate     bool  // it takes compressed messages
	leaving     bool  // it was asked to connect elsewhere
	announced   bool  // a proxy has said whose it is, or need not (PROXY protocol)
	upgraded    bool  // it became a WebSocket
	onePosition bool  // it takes the last seq it has seen for the position of all its patterns (server-sent events)
	turned      bool  // it is to be refused, and not counted among those that are open
	waits       bool  // for the next turn, with the rest of what it said
	watched     bool  // a timer looks whether its socket still takes something
	unanswered  uint8 // pings in a row without a pong
	armed       poll.Interest
	gen         uint32 // of its slot
	sock        poll.Socket
	client      netip.Addr // whose connection it is, as far as proxies on the way can be trusted; zero: nobody's
	session     *session   // who it is; nil: not known yet
	subs        []sub
	ahead       uint64 // the place from which it came, while this edge has not come to that; otherwise 0

	// Only while there is need.
	input   *input   // an incomplete request, frame or message
	pending *pending // a request that can't be answered yet
	lag     *lag     // what its socket could not take
	pace    *pace    // interval_ms of some of its subs
	faults  *faults  // bad requests of late
	spent   *spent   // its rates, of late; in the loop's list too
}

type connState uint8

const (
	freeSlot connState = iota
	greeting           // its upgrade request is not complete
	serving            // a WebSocket
	closing            // a close frame was sent: nothing more goes out, and only its answer is looked for
	ending             // closed as soon as what is due has gone out
	failed             // told why; what it still says is thrown away until it hangs up, since unread bytes would make the close a reset
)

// sub is one pattern that a connection subscribed to.
type sub struct {
	feed   *feed
	from   uint64 // it is owed the `every` messages after this place
	live   uint64 // and all messages after this one as they come
	place  uint32 // its own in feed.subs
	last   uint16 // it was given so many of each topic up to where it is live
	values bool   // it was given the retained values
}

// input is what has come in and is not complete.
type input struct {
	raw      []byte // of the upgrade request, or of a frame, or not looked at while a request is pending
	message  []byte // payloads of the fragments so far
	fragment bool   // a fragmented message is under way
	binary   bool   // and it is a binary one
	deflated bool   // and it is compressed

	refusal *refusal // of the request that is to come, whatever it is
}

// faults counts bad requests.
type faults struct {
	n     int
	since time.Time
}

// ref is a connection as others remember it: it may be gone by the time it is looked up.
type ref struct {
	slot uint32
	gen  uint32
}

func (r ref) token() poll.Token { return poll.Token(r.slot) | poll.Token(r.gen)<<32 }

func refOf(t poll.Token) ref { return ref{slot: uint32(t), gen: uint32(t >> 32)} }

// slab holds a loop's connections in chunks that never move.
type slab struct {
	chunks []*[chunk]conn
	free   []uint32
	open   int
}

const chunk = 64

func (s *slab) at(slot uint32) *conn { return &s.chunks[slot/chunk][slot%chunk] }

// find is the connection that a reference means; nil if it is no longer there.
func (s *slab) find(r ref) *conn {
	c := s.at(r.slot)
	if c.gen != r.gen || c.state == freeSlot {
		return nil
	}
	return c
}

func (s *slab) take() (uint32, *conn) {
	if len(s.free) == 0 {
		base := uint32(len(s.chunks) * chunk)
		s.chunks = append(s.chunks, new([chunk]conn))
		for i := range uint32(chunk) {
			s.free = append(s.free, base+chunk-1-i)
		}
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.open++
	c := s.at(slot)
	*c = conn{gen: c.gen + 1, head: -1, tail: -1}
	return slot, c
}

func (s *slab) put(slot uint32) {
	c := s.at(slot)
	*c = conn{gen: c.gen, head: -1, tail: -1}
	s.free = append(s.free, slot)
	s.open--
}

// each calls do for every open connection.
func (s *slab) each(do func(slot uint32, c *conn)) {
	for i, ch := range s.chunks {
		for j := range ch {
			if ch[j].state != freeSlot {
				do(uint32(i*chunk+j), &ch[j])
			}
		}
	}
}
