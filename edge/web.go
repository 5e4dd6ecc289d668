package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// web is the HTTP server behind the sockets' port: it gets the connections whose request is not an upgrade.
type web struct {
	server *http.Server
	addr   net.Addr
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func newWeb(addr net.Addr, h http.Handler, log *slog.Logger) *web {
	return &web{
		addr:  addr,
		conns: make(chan net.Conn),
		done:  make(chan struct{}),
		server: &http.Server{
			Handler:           bodyless(h),
			ReadHeaderTimeout: 10 * time.Second,
			WriteTimeout:      writeWait, // streams of events set their own for each write
			IdleTimeout:       30 * time.Second,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
}

// bodyWait is how long the body of a request may take, which nobody here reads.
const bodyWait = 5 * time.Second

// bodyless serves requests that need no body. net/http reads one all the same before it answers, and would wait for it for ever.
func bodyless(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWait)) // fails only for a connection that is over
		}
		h.ServeHTTP(w, r)
	})
}

func (w *web) run() error {
	if err := w.server.Serve(w); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hangUp has each answer from now on be the last of its connection: who asks again reaches another node.
func (w *web) hangUp() { w.server.SetKeepAlivesEnabled(false) }

// stop lets requests under way end within a grace.
func (w *web) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		w.server.Close()
	}
	w.Close()
}

// take gives the server a connection of a client; closed is called when it ends.
func (w *web) take(c net.Conn, client netip.Addr, closed func()) {
	wc := &webConn{Conn: c, client: client, closed: closed}
	go func() { // the server may be busy, and a loop never waits
		select {
		case w.conns <- wc:
		case <-w.done:
			wc.Close()
		}
	}()
}

// Accept, Close and Addr make it the listener of its own server.
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return.
func (w *web) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

// Addr is the address of the sockets' listener.
func (w *web) Addr() net.Addr { return w.addr }

// webConn knows whose it is, and tells when it was closed.
type webConn struct {
	net.Conn
	client netip.Addr
	once   sync.Once
	closed func()
}

// RemoteAddr is the client's address, though a proxy's header may have told it; the port is not known then.
func (c *webConn) RemoteAddr() net.Addr {
	at := c.Conn.RemoteAddr()
	if tcp, ok := at.(*net.TCPAddr); ok && c.client.IsValid() && tcp.AddrPort().Addr().Unmap() != c.client {
		return &net.TCPAddr{IP: c.client.AsSlice()}
	}
	return at
}

func (c *webConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}
