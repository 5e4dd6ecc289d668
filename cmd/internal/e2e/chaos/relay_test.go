//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between edges and one NATS server. It knows NATS' frames, and loses, doubles and delays single live messages;
// all else passes as it is.
type relay struct {
	t        testing.TB
	listener net.Listener
	server   string
	ended    sync.WaitGroup

	tampering atomic.Bool // with live messages at random
	deaf      atomic.Bool // every live message is lost
	lost      atomic.Int64
	doubled   atomic.Int64
	delayed   atomic.Int64

	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]bool
	closed bool
}

// Of a hundred live messages, so many are lost, so many come twice, and so many come after later ones.
const (
	losesOf100   = 3
	doublesOf100 = 3
	delaysOf100  = 3
	delayedBy    = 5 // messages
)

// newRelay listens on the stage's own address.
func newRelay(t testing.TB, server string, seed uint64) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", gateway+":0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, listener: listener, server: server, random: rand.New(rand.NewPCG(seed, 1)), open: map[net.Conn]bool{}}
	t.Cleanup(r.close)
	r.ended.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.ended.Go(func() { r.serve(conn) })
		}
	})
	return r
}

func (r *relay) url() string { return "nats://" + r.listener.Addr().String() }

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.drop()
	r.ended.Wait()
}

// drop breaks all lines, as a proxy does that is started again.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.open {
		_ = conn.Close()
	}
}

// keep has a connection closed by drop. false: it is too late.
func (r *relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[conn] = true
	return !r.closed
}

func (r *relay) forget(conn net.Conn) {
	_ = conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
}

func (r *relay) serve(down net.Conn) {
	defer r.forget(down)
	up, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer r.forget(up)
	if !r.keep(down) || !r.keep(up) {
		return
	}
	r.ended.Go(func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	})
	if err := r.tamper(bufio.NewReaderSize(up, 1<<16), down); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		r.t.Logf("relay: %v", err)
	}
}

// fate is what becomes of a frame.
type fate int

const (
	passed fate = iota
	lost
	doubled
	delayed
)

func (r *relay) fate(live bool) fate {
	if !live {
		return passed
	}
	if r.deaf.Load() {
		return lost
	}
	if !r.tampering.Load() {
		return passed
	}
	r.mu.Lock()
	n := r.random.IntN(100)
	r.mu.Unlock()
	switch {
	case n < losesOf100:
		return lost
	case n < losesOf100+doublesOf100:
		return doubled
	case n < losesOf100+doublesOf100+delaysOf100:
		return delayed
	}
	return passed
}

// late is a frame that is held back.
type late struct {
	frame []byte
	after int // so many more live messages
}

// tamper passes on what a server says to a client.
func (r *relay) tamper(from *bufio.Reader, to io.Writer) error {
	var held []late
	for {
		frame, live, err := readFrame(from)
		if err != nil {
			return err
		}
		var out []byte
		switch r.fate(live) {
		case lost:
			r.lost.Add(1)
		case doubled:
			r.doubled.Add(1)
			out = bytes.Repeat(frame, 2)
		case delayed:
			r.delayed.Add(1)
			held = append(held, late{frame, delayedBy})
		default:
			out = frame
		}
		if live {
			kept := held[:0]
			for _, l := range held {
				if l.after--; l.after < 0 {
					out = append(out, l.frame...)
					continue
				}
				kept = append(kept, l)
			}
			held = kept
		}
		if _, err := to.Write(out); err != nil {
			return err
		}
	}
}

// readFrame reads one whole frame of NATS' protocol, and tells whether it is a live message.
//
//	MSG <subject> <sid> [reply] <bytes>␍␊<payload>␍␊
//	HMSG <subject> <sid> [reply] <header bytes> <all bytes>␍␊<header><payload>␍␊
func readFrame(from *bufio.Reader) (frame []byte, live bool, err error) {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return nil, false, err
	}
	words := bytes.Fields(line)
	if len(words) < 4 || !bytes.Equal(words[0], []byte("MSG")) && !bytes.Equal(words[0], []byte("HMSG")) {
		return line, false, nil
	}
	size, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil {
		return nil, false, fmt.Errorf("read the frame %q: %w", line, err)
	}
	frame = append(line, make([]byte, size+2)...)
	_, err = io.ReadFull(from, frame[len(line):])
	return frame, bytes.HasPrefix(words[1], []byte("tidings.live.")), err
}
