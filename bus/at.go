package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Mark is a place of the stream and what stands there, so that it can be told whether it is still the same: no two messages have a
// place, a topic and a time in common.
type Mark struct {
	Seq   uint64
	Topic Topic
	Time  time.Time // when the stream took it
}

// Mark is what tells m from every other message that the stream ever had.
func (m Message) Mark() Mark { return Mark{m.Seq, m.Topic, m.Time} }

// Stands asks the stream's leader whether a mark's message stands at its place. When none does, it has lapsed, or the stream does not
// reach so far; when another one does, the stream lost its end and has given the place away.
func (c *Conn) Stands(ctx context.Context, m Mark) (same, any bool, err error) {
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return false, false, err
	}
	defer cancel()
	got, found, err := c.stored(ctx, storedRequest{Seq: m.Seq})
	if err != nil || !found {
		return false, false, orCause(ctx, err)
	}
	return got.Subject == c.subjects.pubTopic(m.Topic) && got.Time.Equal(m.Time), true, nil
}

// storedRequest is the part of JetStream's request for one message that we use (JSApiMsgGetRequest of nats-server). Its leader answers.
type storedRequest struct {
	Seq  uint64 `json:"seq,omitempty"`
	Last string `json:"last_by_subj,omitempty"`
}

// storedMessage is what it says of the message.
type storedMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
}

func (c *Conn) stored(ctx context.Context, r storedRequest) (m storedMessage, found bool, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return m, false, fmt.Errorf("encode a request: %w", err)
	}
	reply, err := c.nc.RequestWithContext(ctx, c.cfg.API+".STREAM.MSG.GET."+c.cfg.Stream.Name, body)
	if err != nil {
		return m, false, lineError(err)
	}
	var answer struct {
		Error   *jetstream.APIError
		Message storedMessage
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return m, false, fmt.Errorf("NATS' answer cannot be read: %w", err)
	}
	switch e := answer.Error; {
	case e == nil:
		return answer.Message, true, nil
	case e.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return m, false, nil
	default:
		return m, false, apiError(e)
	}
}
