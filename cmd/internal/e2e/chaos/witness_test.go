//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// witness is a client as a stranger would write it from the protocol's page alone. It keeps what it is sent as it comes, so
// that an edge cannot rely on clients to drop what they have. It knows no handover: when it is closed it comes back.
type witness struct {
	client     Client
	url        string
	journal    *Journal
	http       *http.Client
	subscribed func()

	epoch     string
	positions map[string]uint64 // of each pattern that was acked
	lines     int
}

// told is a message of the protocol's, with what a witness looks at.
type told struct {
	Type, Topic string
	ID          uint64
	Seq, Prev   uint64
	Gone        bool
	Payload     json.RawMessage
}

type position struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

type want struct {
	Topic string    `json:"topic"`
	Since *position `json:"since,omitempty"`
}

// quiet is the time without a word after which a witness comes back: two heartbeats of these edges.
const quiet = 2 * heartbeat

// runWitness is one witness. It calls subscribed for the first ack of each pattern.
func runWitness(ctx context.Context, url string, c Client, journal *Journal, subscribed func()) {
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	w := &witness{client: c, url: url, journal: journal, http: &http.Client{Transport: transport}, subscribed: subscribed, positions: map[string]uint64{}}
	for ctx.Err() == nil {
		err := w.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		w.add(Event{What: Disconnected, Text: fmt.Sprint(err)})
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (w *witness) add(e Event) {
	e.Client, e.Line = w.client.Name, w.lines
	w.journal.Add(e)
}

// connect is one connection, from its beginning to its end.
func (w *witness) connect(ctx context.Context) error {
	dialling, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(dialling, w.url, &websocket.DialOptions{HTTPClient: w.http, Subprotocols: []string{"tidings.v1"}})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	w.lines++
	since := map[string]uint64{}
	var wants []want
	for _, p := range w.client.Patterns {
		ask := want{Topic: p}
		if at, ok := w.positions[p]; ok {
			ask.Since = &position{w.epoch, at}
			since[p] = at
		}
		wants = append(wants, ask)
	}
	request, err := json.Marshal(map[string]any{"type": "subscribe", "id": 1, "topics": wants})
	if err != nil {
		return err
	}
	if err := conn.Write(dialling, websocket.MessageText, request); err != nil {
		return err
	}
	for {
		reading, cancel := context.WithTimeout(ctx, quiet)
		_, text, err := conn.Read(reading)
		cancel()
		if err != nil {
			return err
		}
		if err := w.take(text, since); err != nil {
			return err
		}
	}
}

// take enters one message.
func (w *witness) take(text []byte, since map[string]uint64) error {
	var m told
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("read %.100s: %w", text, err)
	}
	switch m.Type {
	case "heartbeat", "status", "going_away":
	case "connected":
		var p struct{ Node string }
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			return err
		}
		w.add(Event{What: Connected, Text: p.Node})
	case "ack":
		return w.acked(m, since)
	case "error":
		return errors.New(string(m.Payload)) // it may be well later
	case "gap":
		var g struct {
			After, Before uint64
			Reason        string
		}
		if err := json.Unmarshal(m.Payload, &g); err != nil {
			return err
		}
		w.add(Event{What: Gap, Topic: m.Topic, After: g.After, Before: g.Before, Text: g.Reason})
	default:
		var n number
		if !m.Gone {
			if err := json.Unmarshal(m.Payload, &n); err != nil {
				return err
			}
		}
		w.add(Event{What: Message, Topic: m.Topic, Seq: m.Seq, Prev: m.Prev, N: n.N, Gone: m.Gone})
		// The highest seq of a pattern is a position, but for latest topics, which have no order between each other.
		for _, p := range w.client.Patterns {
			if every(m.Topic) && (Client{Patterns: []string{p}}).wants(m.Topic) {
				w.positions[p] = max(w.positions[p], m.Seq)
			}
		}
	}
	return nil
}

func (w *witness) acked(m told, since map[string]uint64) error {
	var p struct {
		Topics []struct {
			Topic string
			position
			Recovered bool
		}
	}
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return err
	}
	for _, a := range p.Topics {
		at, resumed := since[a.Topic]
		w.add(Event{What: Subscribed, Pattern: a.Topic, Seq: a.Seq, Since: at, Resumed: resumed, Recovered: a.Recovered})
		if a.Epoch == "" {
			return errors.New("the edge knows no epoch yet")
		}
		if !resumed {
			w.subscribed()
			w.positions[a.Topic] = a.Seq
		}
		if w.epoch = a.Epoch; !strings.ContainsAny(a.Topic, "*>") && every(a.Topic) && !resumed {
			w.positions[a.Topic] = a.Seq
		}
	}
	return nil
}
