package poll

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	streamIn     = 4 << 10         // bytes read ahead of the owner
	streamOut    = 64 << 10        // bytes written ahead of the peer
	streamLinger = 2 * time.Second // how long a closed stream may take to send what was written
)

// streams is a poller's side of its streams: what they have to tell, and who still runs.
type streams struct {
	wake    func()
	running sync.WaitGroup

	mu    sync.Mutex
	ready []Event
}

func (ss *streams) init(wake func()) { ss.wake = wake }
func (ss *streams) wait()            { ss.running.Wait() }

func (ss *streams) pending() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.ready) > 0
}

func (ss *streams) take(events []Event) int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	n := copy(events, ss.ready)
	ss.ready = ss.ready[:copy(ss.ready, ss.ready[n:])]
	return n
}

func (ss *streams) post(e Event) {
	ss.mu.Lock()
	ss.ready = append(ss.ready, e)
	ss.mu.Unlock()
	ss.wake()
}

func (ss *streams) start(c net.Conn, t Token) *stream {
	s := &stream{conn: c, token: t, home: ss, want: Readable,
		taken: make(chan struct{}, 1), given: make(chan struct{}, 1), stop: make(chan struct{}), readerDone: make(chan struct{})}
	ss.running.Add(2)
	go s.reader()
	go s.writer()
	return s
}

// stream is the goroutine transport of one connection: a reader that stays at most one buffer ahead of the
// owner, and a writer that takes what the owner left.
type stream struct {
	conn  net.Conn
	token Token
	home  *streams

	taken      chan struct{} // owner → reader: the buffer is empty
	given      chan struct{} // owner → writer: there is something to write
	stop       chan struct{} // closed by the owner: end
	readerDone chan struct{}

	mu      sync.Mutex
	want    Interest
	in      []byte
	inErr   error
	out     []byte
	outErr  error
	full    bool // the owner waits until what it wrote is on its way
	stopped bool
	lent    bool // detached: the connection is somebody else's
}

func (s *stream) reader() {
	defer s.home.running.Done()
	defer close(s.readerDone)
	buf := make([]byte, streamIn)
	for {
		n, err := s.conn.Read(buf)
		if n == 0 && err == nil { // an empty write on a pipe: there is nothing for the owner to take
			continue
		}
		s.mu.Lock()
		s.in, s.inErr = buf[:n], err
		tell := s.want&Readable != 0 || err != nil
		s.mu.Unlock()
		if tell {
			s.home.post(Event{Token: s.token, Readable: true})
		}
		if err != nil {
			return
		}
		select {
		case <-s.taken:
		case <-s.stop:
			return
		}
	}
}

func (s *stream) writer() {
	defer s.home.running.Done()
	var spare []byte
	for {
		select {
		case <-s.given:
		case <-s.stop:
		}
		s.mu.Lock()
		out, stopped := s.out, s.stopped
		if len(out) > 0 { // or the spare one would be handed out twice
			s.out = spare[:0]
		}
		s.mu.Unlock()
		if len(out) > 0 {
			_, err := s.conn.Write(out)
			spare = out
			s.mu.Lock()
			if err != nil {
				s.outErr = err
			}
			tell := s.full && s.want&Writable != 0
			s.full = s.full && !tell
			s.mu.Unlock()
			if tell {
				s.home.post(Event{Token: s.token, Writable: true})
			}
			continue
		}
		if stopped {
			s.mu.Lock()
			lent := s.lent
			s.mu.Unlock()
			if !lent {
				s.conn.Close()
			}
			return
		}
	}
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	n := copy(b, s.in)
	s.in = s.in[n:]
	left, err := len(s.in), s.inErr
	s.mu.Unlock()
	switch {
	case n > 0 && left == 0 && err == nil:
		signal(s.taken)
		return n, nil
	case n > 0:
		s.home.post(Event{Token: s.token, Readable: true})
		return n, nil
	case err != nil:
		return 0, err
	}
	return 0, ErrAgain
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	if s.outErr != nil {
		defer s.mu.Unlock()
		return 0, s.outErr
	}
	n := min(len(b), streamOut-len(s.out))
	s.out = append(s.out, b[:n]...)
	s.full = n < len(b) || s.want&Writable != 0
	s.mu.Unlock()
	signal(s.given)
	if n < len(b) {
		return n, ErrAgain
	}
	return n, nil
}

// arm sets what the owner is told of, and tells what is already so.
func (s *stream) arm(i Interest) {
	s.mu.Lock()
	s.want = i
	e := Event{Token: s.token,
		Readable: i&Readable != 0 && (len(s.in) > 0 || s.inErr != nil),
		Writable: i&Writable != 0 && (len(s.out) == 0 || s.outErr != nil)}
	s.full = i&Writable != 0 && !e.Writable
	s.mu.Unlock()
	if e.Readable || e.Writable {
		s.home.post(e)
	}
}

// close ends both goroutines once what was written is sent, or streamLinger has passed.
func (s *stream) close() {
	_ = s.conn.SetReadDeadline(past)
	_ = s.conn.SetWriteDeadline(time.Now().Add(streamLinger))
	s.end(false)
}

func (s *stream) end(lent bool) {
	s.mu.Lock()
	was := s.stopped
	s.stopped, s.lent = true, lent
	s.mu.Unlock()
	if !was {
		close(s.stop)
	}
}

// detach ends both goroutines and returns the connection, with what the reader had taken and the owner had not.
func (s *stream) detach() (net.Conn, error) {
	s.end(true)
	_ = s.conn.SetReadDeadline(past)
	<-s.readerDone
	_ = s.conn.SetReadDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	return Ahead(s.conn, s.in), nil
}

// Ahead is c with bytes that were read from it already; they are copied.
func Ahead(c net.Conn, b []byte) net.Conn {
	if len(b) == 0 {
		return c
	}
	return &aheadConn{Conn: c, ahead: append([]byte(nil), b...)}
}

// aheadConn is a connection of which some bytes were read ahead.
type aheadConn struct {
	net.Conn
	ahead []byte
}

func (c *aheadConn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
	}
	return netip.AddrPort{}
}
