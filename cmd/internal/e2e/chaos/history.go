package chaos

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tidings/bus"
)

// History is all that happened in one run, as far as promises are about it. Times are of one clock: all play on one machine.
type History struct {
	Scenario string
	Seed     uint64
	Began    time.Time // of the load
	Ended    time.Time // of the load: the last message was acknowledged
	Clients  []Client
	Events   []Event  // of all clients; those of one client in the order in which it had them
	Acked    []Acked  // what the stream acknowledged to the publishers
	Stored   []Stored // all of those publishers' topics that the stream held at the end, by rising seq
}

// Client is one that took part.
type Client struct {
	Name     string
	Kind     Kind
	Patterns []string
}

// Kind is whose code a client runs.
type Kind string

const (
	Library Kind = "library" // edge/client: it may drop what it is sent twice
	Witness Kind = "witness" // a stranger's: it keeps what it is sent as it comes
)

// What an Event is.
const (
	Subscribed   = "subscribed"   // an ack: Line, Pattern, Since, Seq, Resumed, Recovered
	Message      = "message"      // Line, Topic, Seq, Prev, N, Gone
	Gap          = "gap"          // Topic, After, Before, Text: its reason
	Connected    = "connected"    // Line, Text: the node
	Disconnected = "disconnected" // no connection is left; Text: why
	Refused      = "refused"      // for good; Text: why
)

// Event is one thing that a client saw. Fields that its What does not name are zero.
type Event struct {
	Client    string `json:"c"`
	What      string `json:"w"`
	At        int64  `json:"at"`             // Unix microseconds
	Line      int    `json:"line,omitempty"` // which of a witness' connections, from 1
	Pattern   string `json:"pattern,omitempty"`
	Topic     string `json:"t,omitempty"`
	Seq       uint64 `json:"s,omitempty"` // of an ack: the position that is reached
	Prev      uint64 `json:"p,omitempty"`
	N         int    `json:"n,omitempty"` // the number in the payload
	Gone      bool   `json:"gone,omitempty"`
	Since     uint64 `json:"since,omitempty"` // where a witness resumed
	After     uint64 `json:"after,omitempty"`
	Before    uint64 `json:"before,omitempty"`
	Resumed   bool   `json:"resumed,omitempty"`
	Recovered bool   `json:"recovered,omitempty"`
	Text      string `json:"text,omitempty"`
}

// Acked is a message that the stream acknowledged. Its publisher tried until it was.
type Acked struct {
	Topic string
	N     int
	Seq   uint64
	At    time.Time // of the acknowledgement
}

// Stored is a message as the stream holds it.
type Stored struct {
	Topic string
	Seq   uint64
	N     int
}

// kind is that of a client.
func (h History) kind(client string) Kind {
	i := slices.IndexFunc(h.Clients, func(c Client) bool { return c.Name == client })
	return h.Clients[i].Kind
}

// Journal writes events as they happen. Many goroutines may use it.
type Journal struct {
	mu   sync.Mutex
	to   *bufio.Writer
	seen map[string]map[string]uint64 // client, topic: the highest seq
	err  error
}

// NewJournal writes to w, one line for an event.
func NewJournal(w io.Writer) *Journal {
	return &Journal{to: bufio.NewWriter(w), seen: map[string]map[string]uint64{}}
}

// Add enters one event, and when it was.
func (j *Journal) Add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.At = time.Now().UnixMicro()
	text, err := json.Marshal(e)
	if err == nil {
		_, err = j.to.Write(append(text, '\n'))
	}
	j.err = cmp.Or(j.err, err)
	if e.What != Message {
		return
	}
	topics := j.seen[e.Client]
	if topics == nil {
		topics = map[string]uint64{}
		j.seen[e.Client] = topics
	}
	topics[e.Topic] = max(topics[e.Topic], e.Seq)
}

// Behind counts the topics of which a client does not have the message at their seq of last yet.
func (j *Journal) Behind(clients []Client, last map[string]uint64) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range clients {
		for topic, seq := range last {
			if c.wants(topic) && j.seen[c.Name][topic] < seq {
				n++
			}
		}
	}
	return n
}

// Close writes what is left.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cmp.Or(j.err, j.to.Flush())
}

// ReadEvents reads what a Journal wrote.
func ReadEvents(r io.Reader) ([]Event, error) {
	var events []Event
	for in := json.NewDecoder(r); ; {
		var e Event
		switch err := in.Decode(&e); {
		case errors.Is(err, io.EOF):
			return events, nil
		case err != nil:
			return nil, fmt.Errorf("read event %d: %w", len(events)+1, err)
		}
		events = append(events, e)
	}
}

// wants tells whether a client subscribed to a topic.
func (c Client) wants(topic string) bool {
	return slices.ContainsFunc(c.Patterns, func(p string) bool { return bus.Pattern(p).Matches(bus.Topic(topic)) })
}

// every tells the topics of which each message matters.
func every(topic string) bool { return bus.Topic(topic).Delivery() == bus.Every }
