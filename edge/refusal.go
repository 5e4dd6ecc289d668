package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/edge/poll"
	"tidings/edge/wire"
)

// refusal is why a client is not let in.
type refusal struct {
	status  int
	code    wire.Code
	message string    // for people: what to do next
	headers string    // lines, each with its CR LF
	result  handshake // as which it is counted
}

var refusalDraining = refusal{status: http.StatusServiceUnavailable, code: wire.Unavailable, result: handshakeDraining,
	message: "this node is being stopped; connect again and reach another one", headers: "Retry-After: 1\r\n"}

// retryAfter is the header, in whole seconds (RFC 9110 §10.2.3).
func retryAfter(wait time.Duration) string {
	return "Retry-After: " + strconv.Itoa(int((wait+time.Second-1)/time.Second)) + "\r\n"
}

// refuse answers a request with a refusal, which is the last that its connection hears.
func (l *loop) refuse(slot uint32, c *conn, r refusal) {
	l.node.metrics.handshakes[r.result].Inc()
	l.finish(c)
	c.input = nil
	c.state = failed
	l.arm(slot, c, c.armed|poll.Readable) // to throw away what it still says
	l.owe(slot, c, &frame{wire: r.response()})
	l.timers.add(l.now.Add(closeWait), timer{slot: slot, gen: c.gen, kind: closeTimer})
}

// response is a refusal as an HTTP answer, for a connection that no HTTP server has.
func (r refusal) response() []byte {
	body := wire.AppendRefusal(nil, r.code, r.message)
	b := append([]byte("HTTP/1.1 "), strconv.Itoa(r.status)...)
	b = append(b, ' ')
	b = append(b, http.StatusText(r.status)...)
	b = append(b, "\r\nConnection: close\r\nContent-Type: application/json\r\n"...)
	b = append(b, r.headers...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// to answers an HTTP request with a refusal.
func (r refusal) to(w http.ResponseWriter) {
	for line := range strings.SplitSeq(r.headers, "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			w.Header().Set(name, value)
		}
	}
	refuseHTTP(w, r.code, r.message)
}

// refuseHTTP answers an HTTP request that got past the door.
func refuseHTTP(w http.ResponseWriter, code wire.Code, message string) {
	refuseAs(w, code.Status(), code, message)
}

// refuseAs does it with another status than the code's own.
func refuseAs(w http.ResponseWriter, status int, code wire.Code, message string) {
	body := wire.AppendRefusal(nil, code, message)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if (code == wire.Unavailable || code == wire.TooManyRequests) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
