package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/edge/wire"
)

// client is a WebSocket client that none of our code wrote. A goroutine reads what comes.
type client struct {
	t        testing.TB
	conn     *websocket.Conn
	messages chan message
	gone     chan struct{} // closed when the test is over: nobody takes messages any more
	over     chan struct{} // closed when the connection has ended
	err      error         // with what; after over
	ended    time.Time     // when; after over
	id       uint64
	greeting message
}

// message is one message of the server, as it came and as it reads.
type message struct {
	wire.Message
	text string
}

// dial connects and takes the greeting.
func (n *node) dial(change ...func(*websocket.DialOptions)) *client {
	n.t.Helper()
	c := n.dialQuietly(change...)
	c.greeting = c.next()
	if c.greeting.Type != "connected" {
		n.t.Fatalf("the first message is %s", c.greeting.text)
	}
	return c
}

func (n *node) dialQuietly(change ...func(*websocket.DialOptions)) *client {
	n.t.Helper()
	o := &websocket.DialOptions{Subprotocols: []string{wire.Subprotocol}}
	for _, f := range change {
		f(o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+n.host+"/ws", o)
	if err != nil {
		n.t.Fatalf("dial: %v", err)
	}
	conn.SetReadLimit(16 << 20)
	c := &client{t: n.t, conn: conn, messages: make(chan message, 1<<16), gone: make(chan struct{}), over: make(chan struct{})}
	go c.read()
	n.t.Cleanup(func() {
		close(c.gone)
		conn.CloseNow()
		<-c.over
	})
	return c
}

func (c *client) read() {
	defer close(c.over)
	for {
		kind, text, err := c.conn.Read(context.Background())
		if err != nil {
			c.err, c.ended = err, time.Now()
			return
		}
		m, err := wire.ParseMessage(text)
		if err != nil || kind != websocket.MessageText || !json.Valid(text) {
			c.t.Errorf("the edge sent %s: %v", text, err)
		}
		select {
		case c.messages <- message{m, string(text)}:
		case <-c.gone:
			return
		}
	}
}

// next waits for a message.
func (c *client) next() message {
	c.t.Helper()
	select {
	case m := <-c.messages:
		return m
	default:
	}
	select {
	case m := <-c.messages:
		return m
	case <-c.over:
		select {
		case m := <-c.messages:
			return m
		default:
		}
		c.t.Fatalf("the connection ended: %v", c.err)
	case <-time.After(patience):
		c.t.Fatal("no message came")
	}
	return message{}
}

// expectType waits for a message of a type, which must come next.
func (c *client) expectType(kind string) message {
	c.t.Helper()
	m := c.next()
	if m.Type != kind {
		c.t.Fatalf("got    %s\nwanted %s", m.text, kind)
	}
	return m
}

var timestamp = regexp.MustCompile(`"timestamp":1[0-9]{12}\b`)

// letter is a message's text with its time, which must be there, taken out.
func (m message) letter() string { return timestamp.ReplaceAllString(m.text, `"timestamp":T`) }

// expect waits for messages which, but for their times, read to the letter as wanted.
func (c *client) expect(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		if got := c.next().letter(); got != want {
			c.t.Fatalf("got    %s\nwanted %s", got, want)
		}
	}
}

// data waits for messages that must be those, in order, written topic@seq.
func (c *client) data(wanted ...string) {
	c.t.Helper()
	for _, want := range wanted {
		m := c.next()
		if got := fmt.Sprintf("%s@%d", m.Topic, m.Seq); !m.IsData() || got != want {
			c.t.Fatalf("got    %s\nwanted %s", m.text, want)
		}
	}
}

// at writes a place on a topic as data takes it.
func at(topic string, seq uint64) string { return fmt.Sprintf("%s@%d", topic, seq) }

// say sends one text message.
func (c *client) say(format string, args ...any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("say %s: %v", text, err)
	}
}

// subscribe asks for topics, strings or JSON objects, and takes the ack, which must come next.
func (c *client) subscribe(topics ...string) []wire.AckTopic {
	c.t.Helper()
	c.id++
	list := make([]string, len(topics))
	for i, topic := range topics {
		if list[i] = topic; !strings.HasPrefix(topic, "{") {
			list[i] = `"` + topic + `"`
		}
	}
	c.say(`{"type":"subscribe","id":%d,"topics":[%s]}`, c.id, strings.Join(list, ","))
	return c.acked(c.id)
}

func (c *client) acked(id uint64) []wire.AckTopic {
	c.t.Helper()
	m := c.next()
	var p wire.AckPayload
	if m.Type != "ack" || m.ID != id {
		c.t.Fatalf("got    %s\nwanted the ack of %d", m.text, id)
	}
	if m.Payload != nil {
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			c.t.Fatal(err)
		}
	}
	return p.Topics
}

// unsubscribe gives topics up and takes the ack, which must come next.
func (c *client) unsubscribe(topics ...string) {
	c.t.Helper()
	c.id++
	c.say(`{"type":"unsubscribe","id":%d,"topics":["%s"]}`, c.id, strings.Join(topics, `","`))
	c.acked(c.id)
}

// quiet expects that nothing has been sent but the answer to a heartbeat, which comes behind all that the edge has passed on.
func (c *client) quiet() {
	c.t.Helper()
	c.id++
	c.say(`{"type":"heartbeat","id":%d}`, c.id)
	c.acked(c.id)
}

// quietBut is quiet, but for messages of these topics.
func (c *client) quietBut(topics ...string) {
	c.t.Helper()
	c.id++
	c.say(`{"type":"heartbeat","id":%d}`, c.id)
	for {
		m := c.next()
		if m.Type == "ack" && m.ID == c.id {
			return
		}
		if !slices.Contains(topics, m.Topic) {
			c.t.Fatalf("got %s", m.text)
		}
	}
}

// closed expects that the edge closes the connection with a code, and nothing before that.
func (c *client) closed(code wire.CloseCode) {
	c.t.Helper()
	select {
	case <-c.over:
	case <-time.After(patience):
		c.t.Fatalf("the connection was not closed with %v", code)
	}
	if got := websocket.CloseStatus(c.err); got != websocket.StatusCode(code) {
		c.t.Fatalf("closed with %v, want %v", c.err, code)
	}
	select {
	case m := <-c.messages:
		c.t.Fatalf("before the close came %s", m.text)
	default:
	}
}

// payload reads what a message carries.
func payload[T any](t testing.TB, m message) T {
	t.Helper()
	var p T
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		t.Fatalf("%s: %v", m.text, err)
	}
	return p
}
