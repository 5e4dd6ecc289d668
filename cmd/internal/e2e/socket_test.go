//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a client as a stranger would write it from the protocol's page alone: nothing of ours is in it.
type socket struct {
	t         testing.TB
	conn      *websocket.Conn
	url       string
	connected connected     // what it was greeted with
	ended     chan struct{} // closed when the connection has ended
	err       error         // why; valid then

	requests uint64 // how many were sent

	mu   sync.Mutex
	seen []message      // all that came, in order
	next map[string]int // for each topic, or each type of what has none: where in seen to look on
	news chan struct{}  // closed and replaced by each message
}

// message is a message of the protocol's.
type message struct {
	Type      string
	Topic     string
	ID        uint64
	Seq, Prev uint64
	Timestamp int64 // Unix milliseconds
	Gone      bool
	Payload   json.RawMessage

	raw     string    // the frame as it came
	arrived time.Time // here
}

// kind is what a socket sorts messages by.
func (m message) kind() string {
	switch {
	case m.Topic != "" && m.Type != "gap":
		return m.Topic
	case m.Type == "error" && m.ID != 0: // an answer, as an ack is
		return "ack"
	}
	return m.Type
}

func (m message) String() string { return fmt.Sprintf("%.200s", m.raw) }

type connected struct {
	Connection  string
	Node        string
	Protocol    string
	Epoch       string
	HeartbeatMS int64 `json:"heartbeat_ms"`
}

// position is where a client stands.
type position struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// want is an entry of a subscribe's topics.
type want struct {
	Topic string    `json:"topic"`
	Since *position `json:"since,omitempty"`
	Last  int       `json:"last,omitempty"`
}

// acked is what an ack says of a pattern.
type acked struct {
	Topic string
	position
	Recovered *bool
}

// dial connects and waits for the greeting.
func dial(t testing.TB, url string, offered ...string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: append([]string{"tidings.v1"}, offered...)})
	if err != nil {
		t.Fatalf("connect to %s: %v %v", url, err, response)
	}
	if conn.Subprotocol() != "tidings.v1" {
		t.Errorf("subprotocol is %q", conn.Subprotocol())
	}
	conn.SetReadLimit(8 << 20)
	s := &socket{t: t, url: url, conn: conn, ended: make(chan struct{}), next: map[string]int{}, news: make(chan struct{})}
	go s.listen()
	t.Cleanup(s.close)
	s.connected = payload[connected](t, s.await("connected", "the greeting", always))
	return s
}

// listen keeps what comes until the connection ends.
func (s *socket) listen() {
	defer close(s.ended)
	for {
		_, text, err := s.conn.Read(context.Background())
		if err != nil {
			s.err = err
			return
		}
		m := message{raw: string(text), arrived: time.Now()}
		if err := json.Unmarshal(text, &m); err != nil {
			m.Type = "no JSON: " + err.Error()
		}
		s.mu.Lock()
		s.seen = append(s.seen, m)
		close(s.news)
		s.news = make(chan struct{})
		s.mu.Unlock()
	}
}

// close ends the connection, if it is still open, and waits for that.
func (s *socket) close() {
	_ = s.conn.CloseNow()
	<-s.ended
}

// subscribe waits for the ack and returns what it says of each pattern.
func (s *socket) subscribe(topics ...any) []acked {
	s.t.Helper()
	m := s.ask(map[string]any{"type": "subscribe", "topics": topics})
	if m.Type != "ack" {
		s.t.Fatalf("the answer to a subscribe is %v", m)
	}
	return payload[struct{ Topics []acked }](s.t, m).Topics
}

// ask sends a request, and waits for its answer.
func (s *socket) ask(request map[string]any) message {
	s.t.Helper()
	s.requests++
	request["id"] = s.requests
	text, err := json.Marshal(request)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		s.t.Fatalf("send %s: %v", text, err)
	}
	m := s.await("ack", "the answer to "+string(text), always)
	if m.ID != s.requests {
		s.t.Fatalf("the answer to %s is %v", text, m)
	}
	return m
}

// epochAt is the stream's, as an edge has it. (Its greeting may be from before it had met the stream.)
func epochAt(t testing.TB, url string) string {
	t.Helper()
	s := dial(t, url)
	defer s.close()
	return s.subscribe("epoch.asked")[0].Epoch
}

func always(message) bool { return true }

// await returns the next message of a topic (or, of what has none, of a type) that matches. Those before it are passed over.
func (s *socket) await(kind, what string, matches func(message) bool) message {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		m, news, ok := s.look(kind, matches)
		if ok {
			return m
		}
		select {
		case <-news:
		case <-s.ended:
			if m, _, ok := s.look(kind, matches); ok {
				return m
			}
			s.t.Fatalf("the connection ended before %s: %v\n%s", what, s.err, s.story())
		case <-deadline:
			s.t.Fatalf("waited %v for %s; what came last:\n%s", patience, what, s.story())
		}
	}
}

func (s *socket) look(kind string, matches func(message) bool) (message, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.next[kind]; i < len(s.seen); i++ {
		if m := s.seen[i]; m.kind() == kind && matches(m) {
			s.next[kind] = i + 1
			return m, nil, true
		}
	}
	s.next[kind] = len(s.seen)
	return message{}, s.news, false
}

// of is all that has come of a topic, or of a type, so far.
func (s *socket) of(kind string) (its []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.seen {
		if m.kind() == kind {
			its = append(its, m)
		}
	}
	return its
}

// story is what came last.
func (s *socket) story() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, m := range s.seen[max(0, len(s.seen)-20):] {
		lines = append(lines, m.arrived.Format("15:04:05.000 ")+m.String())
	}
	return strings.Join(lines, "\n")
}

// payload reads a message's.
func payload[T any](t testing.TB, m message) (value T) {
	t.Helper()
	if err := json.Unmarshal(m.Payload, &value); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return value
}

// chained fails unless each message names the one before it as its predecessor: nothing is missing between them.
func chained(t testing.TB, messages []message) {
	t.Helper()
	for i := 1; i < len(messages); i++ {
		if before, m := messages[i-1], messages[i]; m.Prev != before.Seq || m.Seq <= before.Seq {
			t.Errorf("%v does not name its predecessor %v", m, before)
		}
	}
}
