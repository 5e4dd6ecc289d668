package poll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Options of a listener. Accepted sockets inherit them from it, so that they cost nothing for each connection.
type Options struct {
	// SendBuffer is SO_SNDBUF in bytes, as given to the kernel, which doubles it; 0 leaves the kernel's choice.
	// Unbounded, the kernel hides megabytes for each client that does not read.
	SendBuffer int
	// Unsent is TCP_NOTSENT_LOWAT in bytes: a socket whose unsent bytes are above it is not announced as
	// writable. Low, a slow client's next value is chosen late and is new. 0 leaves the kernel's choice.
	Unsent int
	// Over puts something over the listener, such as TLS. Its connections then go the goroutines' way.
	Over func(net.Listener) net.Listener
}

// Listener takes connections in, several at a time where the system allows.
type Listener struct {
	net.Listener
	batch    batch
	refusals refusals
}

// Listen opens a TCP listener on addr ("host:port") whose connections go into pollers.
func Listen(ctx context.Context, addr string, o Options) (*Listener, error) {
	lc := net.ListenConfig{
		Control:   o.control,
		KeepAlive: -1, // the heartbeat tells who is gone
	}
	lc.SetMultipathTCP(false) // an MPTCP socket is no place for bare descriptors, and costs more
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if o.Over != nil {
		l = o.Over(l)
	}
	return Wrap(l), nil
}

// Wrap takes a listener that somebody else opened. Plain TCP connections of it go the descriptors' way, others,
// such as those of a TLS listener, the goroutines'.
func Wrap(l net.Listener) *Listener {
	pl := &Listener{Listener: l}
	pl.batch.init(l)
	pl.refusals.init()
	return pl
}

// ErrNoDescriptors says that a connection came and no descriptor was left for it. It was turned away where that is possible;
// otherwise it waits in the queue until some are free.
var ErrNoDescriptors = errors.New("no descriptors left")

// Accept waits for at least one connection and fills batch with those that are there.
func (l *Listener) Accept(batch []Accepted) (int, error) {
	if l.batch.ok() {
		return l.batch.accept(batch)
	}
	c, err := l.Listener.Accept()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return 0, ErrNoDescriptors
	}
	if err != nil {
		return 0, err
	}
	batch[0] = FromConn(c)
	return 1, nil
}

// Refuse answers a connection with an HTTP response, whatever it asks, and closes it. It does not wait: an answer that may take time
// is given on the side, and if too many do, there is none.
func (l *Listener) Refuse(a Accepted, answer []byte) {
	if a.conn != nil {
		l.refusals.refuse(a.conn, answer)
		return
	}
	a.refuse(answer)
}

// Close closes the listener, makes Accept return [net.ErrClosed], and waits for refusals under way.
func (l *Listener) Close() error {
	l.batch.close()
	err := l.Listener.Close()
	l.refusals.running.Wait()
	return err
}

// full is all that a client hears for whom there is no descriptor.
const full = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: application/json\r\n" +
	"Content-Length: 88\r\n\r\n" + `{"code":"unavailable","message":"this node is full; try again in a moment or elsewhere"}`

// refusals answer connections whose answer may take time, such as those of TLS, on the side.
type refusals struct {
	running sync.WaitGroup
	places  chan struct{}
}

const (
	refusalsMax = 32              // at a time; more are hung up on
	refusalTime = 2 * time.Second // for the handshake, the request and the answer
)

func (r *refusals) init() { r.places = make(chan struct{}, refusalsMax) }

func (r *refusals) refuse(c net.Conn, answer []byte) {
	select {
	case r.places <- struct{}{}:
	default:
		c.Close()
		return
	}
	r.running.Go(func() {
		defer func() { <-r.places }()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(refusalTime))
		if _, err := c.Read(make([]byte, requestMax)); err == nil { // unread bytes would turn the close into a reset
			_, _ = c.Write(answer)
		}
	})
}

// requestMax is how much of a request is taken before it is refused.
const requestMax = 4096
