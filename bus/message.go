package bus

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Message is one message of a topic, live or from the stream.
type Message struct {
	Topic   Topic
	Seq     uint64      // its place in the stream; 0: it bypassed the stream
	Prev    uint64      // the place of the message before it on the same topic; 0: none
	Time    time.Time   // when the stream took it, or when we did if it bypassed the stream
	Payload []byte      // JSON as published: checked, at most Config.MaxPayload; nil when Gone
	Gone    bool        // a marker: the topic's last message lapsed or was deleted
	Header  nats.Header // the publisher's headers, and NATS' own; shared, not to be changed
}

// Headers that NATS puts on what a stream stores, republishes or hands out.
const (
	headerSubject  = "Nats-Subject"
	headerSequence = "Nats-Sequence"
	headerLast     = "Nats-Last-Sequence"
	headerTime     = "Nats-Time-Stamp"
	headerMarker   = "Nats-Marker-Reason"
)

// Decode reads a live message, as a Listener hands it out. With an error, the fields that could be read are set all the
// same (never the payload): who follows a topic by Prev can step over an invalid message by its Seq and Prev.
// Decode allocates nothing. It may be called by many goroutines at once.
func (c *Conn) Decode(m *nats.Msg) (Message, error) {
	topic, ok := topicOf(c.subjects.live, m.Subject)
	if !ok {
		return Message{}, c.invalid(ErrInvalidTopic)
	}
	msg := Message{Topic: topic, Header: m.Header}
	if _, stored := m.Header[headerSequence]; !stored {
		msg.Time = time.Now()
	} else if err := readPosition(&msg, m.Header); err != nil {
		return msg, c.invalid(err)
	} else if msg.Prev, err = strconv.ParseUint(lastValue(m.Header, headerLast), 10, 64); err != nil {
		return msg, c.invalid(ErrInvalidHeader)
	}
	return msg, c.readPayload(&msg, m)
}

// decodeStored reads a message that the stream handed out by Direct Get. Prev stays 0: such a reply's
// Nats-Last-Sequence is about the reply, not about the topic.
func (c *Conn) decodeStored(m *nats.Msg) (Message, error) {
	topic, ok := topicOf(c.subjects.pub, lastValue(m.Header, headerSubject))
	msg := Message{Topic: topic, Header: m.Header}
	if err := readPosition(&msg, m.Header); err != nil {
		return msg, c.invalid(err)
	}
	if !ok {
		return msg, c.invalid(ErrInvalidTopic)
	}
	return msg, c.readPayload(&msg, m)
}

func (c *Conn) readPayload(msg *Message, m *nats.Msg) error {
	if _, msg.Gone = m.Header[headerMarker]; msg.Gone {
		return nil
	}
	if err := c.checkPayload(m.Data); err != nil {
		return c.invalid(err)
	}
	msg.Payload = m.Data
	return nil
}

// checkPayload is what a payload has to pass on its way in and on its way out.
func (c *Conn) checkPayload(payload []byte) error {
	switch {
	case len(payload) > c.cfg.MaxPayload:
		return ErrTooLarge
	case !utf8.Valid(payload):
		return ErrInvalidUTF8
	case !validJSON(payload):
		return ErrInvalidJSON
	}
	return nil
}

// invalid counts err, one of the ErrInvalid… or ErrTooLarge, and hands it on.
func (c *Conn) invalid(err error) error {
	c.metrics.invalid[err].Inc()
	return err
}

func readPosition(msg *Message, h nats.Header) error {
	var err error
	if msg.Seq, err = strconv.ParseUint(lastValue(h, headerSequence), 10, 64); err != nil || msg.Seq == 0 {
		return ErrInvalidHeader
	}
	if msg.Time, err = time.Parse(time.RFC3339Nano, lastValue(h, headerTime)); err != nil {
		return ErrInvalidHeader
	}
	return nil
}

// lastValue is the last value of a header: NATS appends its own, so that what came before is a publisher's invention.
func lastValue(h nats.Header, key string) string {
	v := h[key]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// String names the message without its payload, for logs and tests.
func (m Message) String() string {
	return fmt.Sprintf("%s #%d (after #%d)", m.Topic, m.Seq, m.Prev)
}
