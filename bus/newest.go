package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Newest is the newest message that is retained of one topic, a marker too; found is false when there is none. Prev stays 0, and
// what is not valid comes without its payload. The subject of this request names the topic, where those of the other reads
// leave it to their body: so a publisher can be allowed to read its own host's topic and nothing else.
//
// On a stream with replicas the one that answers may lag some moments behind.
func (c *Conn) Newest(ctx context.Context, t Topic) (m Message, found bool, err error) {
	err = c.read(ctx, readNewest, func(ctx context.Context) (err error) {
		m, found, err = c.newestOf(ctx, t)
		return err
	})
	if found {
		c.metrics.read[readNewest].messages.Inc()
	}
	return m, found, err
}

func (c *Conn) newestOf(ctx context.Context, t Topic) (Message, bool, error) {
	if !isTopic(string(t)) {
		return Message{}, false, ErrInvalidTopic
	}
	ctx, cancel, err := c.whileUp(ctx)
	if err != nil {
		return Message{}, false, err
	}
	defer cancel()
	subject := c.cfg.API + ".DIRECT.GET." + c.cfg.Stream.Name + "." + c.subjects.pubTopic(t)
	reply, err := c.nc.RequestMsgWithContext(ctx, nats.NewMsg(subject))
	if err != nil {
		return Message{}, false, orCause(ctx, lineError(err))
	}
	switch status := reply.Header.Get("Status"); status {
	case "":
	case "404":
		return Message{}, false, nil
	default:
		return Message{}, false, fmt.Errorf("NATS refuses a Direct Get: %s %s", status, reply.Header.Get("Description"))
	}
	m, err := c.decodeStored(reply)
	if m.Topic != t || m.Seq == 0 {
		return Message{}, false, fmt.Errorf("NATS answers with another message: %w", err)
	}
	return m, true, nil // valid or not
}
