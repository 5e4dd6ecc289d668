package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MessageType is the type of what an edge says of its own accord. A data message has none of
// these but the first token of its topic.
type MessageType string

const (
	TypeConnected MessageType = "connected"  // the first message of a connection
	TypeAck       MessageType = "ack"        // a request was done
	TypeError     MessageType = "error"      // a request was not done, or a subscription ended
	TypeHeartbeat MessageType = "heartbeat"  // the line is alive
	TypeGap       MessageType = "gap"        // messages of a topic are lost for good
	TypeStatus    MessageType = "status"     // the edge lost NATS, or has it again
	TypeGoingAway MessageType = "going_away" // the edge is draining: move on
)

// MessageTypes lists every type of message that is not data.
var MessageTypes = []MessageType{
	TypeConnected, TypeAck, TypeError, TypeHeartbeat, TypeGap, TypeStatus, TypeGoingAway,
}

// ReservedTypes lists the first tokens that no topic may have, since they
// mean something else on the wire.
var ReservedTypes = []string{
	"connected", "ack", "error", "heartbeat", "gap", "status", "going_away",
	"subscribe", "unsubscribe", "action", "refresh",
}

// Message is one message from an edge. Fields that it did not carry are zero.
type Message struct {
	Type      string
	Topic     string // data, gap, and an error about a pattern; empty for all others
	ID        uint64 // ack and error: the request's; 0: an error about no request
	Seq       uint64 // data: place in the stream; 0: it bypassed the stream
	Prev      uint64 // data: place of the message before it on the topic; 0: none
	Timestamp int64  // Unix milliseconds
	Gone      bool   // data: the topic's last message lapsed or was deleted; there is no payload
	Payload   json.RawMessage
}

// IsData reports whether m is a message of a topic, not one of the edge's own.
func (m Message) IsData() bool {
	for _, t := range MessageTypes {
		if m.Type == string(t) {
			return false
		}
	}
	return true
}

// ConnectedPayload is what an edge says of itself at first.
type ConnectedPayload struct {
	Connection  string `json:"connection"`      // id of this connection, for logs
	Node        string `json:"node"`            // name of the edge
	Protocol    string `json:"protocol"`        // Subprotocol
	Epoch       string `json:"epoch,omitempty"` // life of the stream; empty: not known yet
	HeartbeatMS int64  `json:"heartbeat_ms"`
	Expires     int64  `json:"expires,omitempty"` // the token's exp, Unix milliseconds; 0: none
	Limits      Limits `json:"limits"`
}

// Limits is what a connection may ask for.
type Limits struct {
	Subscriptions int `json:"subscriptions"` // patterns held at once
	MessageBytes  int `json:"message_bytes"` // of one request
}

// AckPayload is what an ack of a subscribe carries.
type AckPayload struct {
	Topics []AckTopic `json:"topics"`
}

// AckTopic is how a subscribe went for one of its patterns.
type AckTopic struct {
	Topic     string `json:"topic"`
	Epoch     string `json:"epoch,omitempty"`     // empty, with no seq: no position is known
	Seq       uint64 `json:"seq"`                 // the position reached once what the ack brings has been sent
	Recovered *bool  `json:"recovered,omitempty"` // only where the request had a since
}

// ActionPayload is what an ack of an action carries.
type ActionPayload struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ID        string `json:"id"`
	Action    Verb   `json:"action"`
	Changed   bool   `json:"changed"` // false: there was nothing to do
	State     string `json:"state"`   // of the container, after the action
}

// ErrorPayload is what an error carries.
type ErrorPayload struct {
	Code         Code   `json:"code"`
	Message      string `json:"message"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

// GapPayload says that the messages of a topic with After < seq < Before are lost.
type GapPayload struct {
	After  uint64    `json:"after"`
	Before uint64    `json:"before"`
	Reason GapReason `json:"reason"`
}

// StatusPayload says how the edge stands with NATS.
type StatusPayload struct {
	Upstream Upstream `json:"upstream"`
	Since    int64    `json:"since"` // Unix milliseconds
}

// Upstream is the state of an edge's line to NATS.
type Upstream string

const (
	UpstreamOK       Upstream = "ok"       // every subscription has been brought up to date
	UpstreamDegraded Upstream = "degraded" // values are getting old
)

// GoingAwayPayload says when to leave a draining edge.
type GoingAwayPayload struct {
	Reason      string   `json:"reason"`
	ReconnectMS [2]int64 `json:"reconnect_ms"` // connect anew after a random time within these
	DeadlineMS  int64    `json:"deadline_ms"`  // from now; then the edge closes
}

// ParseMessage reads one message of an edge. Payload is a part of text. Fields that it does
// not know are ignored, so that an older client understands a newer edge.
func ParseMessage(text []byte) (Message, error) {
	if err := check(text); err != nil {
		return Message{}, err
	}
	object := trim(text)
	if object[0] != '{' {
		return Message{}, errors.New("a message is a json object")
	}
	var m Message
	var wrong error
	for key, v := range members(object) {
		if v.isNull() {
			continue // as good as absent
		}
		ok := true
		switch string(key) {
		case "type":
			m.Type, ok = v.text()
		case "topic":
			m.Topic, ok = v.text()
		case "id":
			m.ID, ok = v.integer()
		case "seq":
			m.Seq, ok = v.integer()
		case "prev":
			m.Prev, ok = v.integer()
		case "timestamp":
			var t uint64
			t, ok = v.integer()
			m.Timestamp = int64(t)
		case "gone":
			m.Gone, ok = v.boolean()
		case "payload":
			m.Payload = json.RawMessage(v)
		}
		if !ok && wrong == nil {
			wrong = fmt.Errorf("%s: %s is not what belongs there", key, v.short())
		}
	}
	if wrong == nil && m.Type == "" {
		wrong = errors.New("type: missing")
	}
	if wrong != nil {
		return Message{}, wrong
	}
	return m, nil
}
