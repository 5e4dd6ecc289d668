package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PublishOptions is what may be said about a message besides its payload.
type PublishOptions struct {
	TTL        time.Duration     // how long NATS keeps it, rounded up to seconds; 0: TTL of its topic; below 0: as long as the stream's limits allow
	MsgID      string            // within StreamConfig.Duplicates of the first one, another with the same id is taken for the same message
	ExpectLast *uint64           // publish only if this is the Seq of the topic's last message; 0: only if none is retained. NATS looks at it before it looks at MsgID: once more after a lost acknowledgement is ErrConflict.
	Gone       bool              // a marker in place of a payload: the topic has no message any more, and nothing before it is kept
	Header     map[string]string // of the publisher's own; names that start with Nats- are NATS'
}

// Publish sends payload, which must be JSON, and waits until the stream has it: seq is its place. It does not try again:
// after an error that is neither ErrConflict nor ErrRefused the message may have been stored or not, which MsgID makes harmless.
func (c *Conn) Publish(ctx context.Context, t Topic, payload []byte, o PublishOptions) (seq uint64, err error) {
	if seq, err = c.publish(ctx, t, payload, o); err != nil {
		c.metrics.failed(err)
		return 0, fmt.Errorf("publish on %s: %w", t, err)
	}
	return seq, nil
}

func (c *Conn) publish(ctx context.Context, t Topic, payload []byte, o PublishOptions) (uint64, error) {
	m, err := c.outgoing(t, payload, o)
	if err != nil {
		return 0, err
	}
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	start := time.Now()
	reply, err := c.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, orCause(ctx, c.publishError(err))
	}
	ack, err := c.readAck(reply)
	if err != nil {
		return 0, err
	}
	c.metrics.ackSeconds.Observe(time.Since(start).Seconds())
	return ack.Seq, nil
}

// outgoing is the message as NATS gets it.
func (c *Conn) outgoing(t Topic, payload []byte, o PublishOptions) (*nats.Msg, error) {
	if !isTopic(string(t)) {
		return nil, fmt.Errorf("%w: %w", ErrRefused, ErrInvalidTopic)
	}
	if o.Gone {
		payload = nil
	} else if err := c.checkPayload(payload); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	m := &nats.Msg{Subject: c.subjects.pubTopic(t), Data: payload, Header: nats.Header{}}
	for name, value := range o.Header {
		if len(name) >= 5 && strings.EqualFold(name[:5], "Nats-") {
			return nil, fmt.Errorf("%w: header %s is NATS' own", ErrRefused, name)
		}
		m.Header[name] = []string{value}
	}
	if o.Gone {
		// As NATS writes its own (nats-server, handleRemovalOrSdm): it rolls its topic up, and leaves no marker itself.
		m.Header[headerMarker] = []string{"Remove"}
		m.Header[nats.MsgRollup] = []string{nats.MsgRollupSubject}
	}
	if o.MsgID != "" {
		m.Header[nats.MsgIdHdr] = []string{o.MsgID}
	}
	if o.ExpectLast != nil {
		m.Header[nats.ExpectedLastSubjSeqHdr] = []string{strconv.FormatUint(*o.ExpectLast, 10)}
	}
	if o.TTL == 0 {
		o.TTL = TTL(t)
	}
	if o.TTL > 0 {
		seconds := (o.TTL + time.Second - 1) / time.Second
		m.Header["Nats-TTL"] = []string{strconv.FormatInt(int64(seconds), 10)}
	}
	return m, nil
}

// ack is JetStream's answer to a message (PubAck of nats-server).
type ack struct {
	Stream    string              `json:"stream"`
	Seq       uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

func (c *Conn) readAck(reply *nats.Msg) (ack, error) {
	if len(reply.Data) == 0 && reply.Header.Get("Status") == "503" {
		return ack{}, c.publishError(nats.ErrNoResponders)
	}
	var a ack
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return ack{}, fmt.Errorf("acknowledgement cannot be read: %w", err)
	}
	if a.Error != nil {
		return ack{}, ackError(a.Error)
	}
	if a.Seq == 0 {
		return ack{}, errors.New("acknowledgement holds no place")
	}
	if a.Stream != c.cfg.Stream.Name {
		return ack{}, fmt.Errorf("%w: stream %s took it, not %s", ErrRefused, a.Stream, c.cfg.Stream.Name)
	}
	c.metrics.published.Inc()
	return a, nil
}

// ackError tells apart what trying again can mend.
func ackError(e *jetstream.APIError) error {
	switch e.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return fmt.Errorf("%w: %w", ErrConflict, e)
	}
	if e.Code >= 400 && e.Code < 500 {
		return fmt.Errorf("%w: %w", ErrRefused, e)
	}
	return e
}

func (c *Conn) publishError(err error) error {
	if errors.Is(err, nats.ErrNoResponders) {
		c.lookNow()
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: with its headers it is larger than NATS' max_payload: %w", ErrRefused, err)
	}
	return lineError(err)
}

// isFinal tells that trying again is of no use.
func isFinal(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrConflict)
}
