package bus

import (
	"errors"
	"time"
)

// maroonedAfter is how long a server may have no answer about the stream before another one is tried. An election takes
// about as long, in which no server has one.
const maroonedAfter = 10 * time.Second

// marooned tells whether our server is cut off from the rest of its cluster. Such a one looks well to its clients: the line
// is up, and nothing comes over it.
type marooned struct {
	since time.Time // of the first look in a row without an answer; zero: the last one had one
}

// look enters how a look at the stream ended, and reports whether it is time to try another server.
func (m *marooned) look(err error, now time.Time) bool {
	if err == nil || errors.Is(err, ErrUnavailable) {
		m.since = time.Time{}
		return false
	}
	if m.since.IsZero() {
		m.since = now
	}
	if now.Sub(m.since) < maroonedAfter {
		return false
	}
	m.since = time.Time{}
	return true
}

// leave tries another server, if there is one.
func (c *Conn) leave(cause error) {
	if len(c.nc.Servers()) < 2 {
		return
	}
	c.metrics.left.Inc()
	c.log.Warn("this server cannot reach the stream, trying another one", "server", c.nc.ConnectedUrlRedacted(), "error", cause)
	if err := c.nc.ForceReconnect(); err != nil {
		c.log.Debug("leave the server", "error", err) // the line is closed
	}
}
