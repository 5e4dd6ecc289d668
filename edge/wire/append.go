package wire

import (
	"strconv"
	"strings"
)

// Data is one message of a topic, on its way to all subscribers.
type Data struct {
	Topic   string
	Seq     uint64 // 0: it bypassed the stream, and neither seq nor prev is written
	Prev    uint64
	Time    int64  // when the stream took it, Unix milliseconds
	Payload []byte // JSON, embedded as it is
	Gone    bool   // instead of a payload
}

// AppendData appends a message of a topic; its type is the topic's first token.
func AppendData(dst []byte, d Data) []byte {
	kind, _, _ := strings.Cut(d.Topic, ".")
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, kind)
	dst = append(dst, `,"topic":`...)
	dst = appendString(dst, d.Topic)
	if d.Seq != 0 {
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, d.Seq, 10)
		dst = append(dst, `,"prev":`...)
		dst = strconv.AppendUint(dst, d.Prev, 10)
	}
	dst = appendTimestamp(dst, d.Time)
	if d.Gone {
		return append(dst, `,"gone":true}`...)
	}
	dst = append(dst, `,"payload":`...)
	dst = append(dst, d.Payload...)
	return append(dst, '}')
}

// Connected is the first message of a connection.
type Connected struct {
	Timestamp int64 // Unix milliseconds
	Payload   ConnectedPayload
}

// AppendConnected appends a connected message. Its protocol is Subprotocol if the
// payload names none; epoch and expires are left out where they are not known.
func AppendConnected(dst []byte, c Connected) []byte {
	p := c.Payload
	dst = append(dst, `{"type":"connected"`...)
	dst = appendTimestamp(dst, c.Timestamp)
	dst = append(dst, `,"payload":{"connection":`...)
	dst = appendString(dst, p.Connection)
	dst = append(dst, `,"node":`...)
	dst = appendString(dst, p.Node)
	if p.Protocol == "" {
		p.Protocol = Subprotocol
	}
	dst = append(dst, `,"protocol":`...)
	dst = appendString(dst, p.Protocol)
	if p.Epoch != "" {
		dst = append(dst, `,"epoch":`...)
		dst = appendString(dst, p.Epoch)
	}
	dst = append(dst, `,"heartbeat_ms":`...)
	dst = strconv.AppendInt(dst, p.HeartbeatMS, 10)
	if p.Expires != 0 {
		dst = append(dst, `,"expires":`...)
		dst = strconv.AppendInt(dst, p.Expires, 10)
	}
	dst = append(dst, `,"limits":{"subscriptions":`...)
	dst = strconv.AppendInt(dst, int64(p.Limits.Subscriptions), 10)
	dst = append(dst, `,"message_bytes":`...)
	dst = strconv.AppendInt(dst, int64(p.Limits.MessageBytes), 10)
	return append(dst, "}}}"...)
}

// AppendAck appends the ack of request id. With no topics (the ack of an
// unsubscribe or a heartbeat) it has no payload.
func AppendAck(dst []byte, id uint64, timestamp int64, topics []AckTopic) []byte {
	dst = append(dst, `{"type":"ack"`...)
	dst = appendID(dst, id)
	dst = appendTimestamp(dst, timestamp)
	if len(topics) == 0 {
		return append(dst, '}')
	}
	dst = append(dst, `,"payload":{"topics":[`...)
	for i := range topics {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendAckTopic(dst, &topics[i])
	}
	return append(dst, "]}}"...)
}

func appendAckTopic(dst []byte, t *AckTopic) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendString(dst, t.Topic)
	if t.Epoch != "" {
		dst = append(dst, `,"epoch":`...)
		dst = appendString(dst, t.Epoch)
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, t.Seq, 10)
	}
	if t.Recovered != nil {
		dst = append(dst, `,"recovered":`...)
		dst = strconv.AppendBool(dst, *t.Recovered)
	}
	return append(dst, '}')
}

// AppendActionAck appends the ack of action id.
func AppendActionAck(dst []byte, id uint64, timestamp int64, p ActionPayload) []byte {
	dst = append(dst, `{"type":"ack"`...)
	dst = appendID(dst, id)
	dst = appendTimestamp(dst, timestamp)
	dst = append(dst, `,"payload":{"host":`...)
	dst = appendString(dst, p.Host)
	dst = append(dst, `,"container":`...)
	dst = appendString(dst, p.Container)
	dst = append(dst, `,"id":`...)
	dst = appendString(dst, p.ID)
	dst = append(dst, `,"action":`...)
	dst = appendString(dst, string(p.Action))
	dst = append(dst, `,"changed":`...)
	dst = strconv.AppendBool(dst, p.Changed)
	dst = append(dst, `,"state":`...)
	dst = appendString(dst, p.State)
	return append(dst, "}}"...)
}

// AppendError appends an error about request id; 0: about none, or about one whose id could not be
// read.
func AppendError(dst []byte, id uint64, timestamp int64, e *Error) []byte {
	dst = append(dst, `{"type":"error"`...)
	if id != 0 {
		dst = appendID(dst, id)
	}
	if e.Topic != "" {
		dst = append(dst, `,"topic":`...)
		dst = appendString(dst, e.Topic)
	}
	dst = appendTimestamp(dst, timestamp)
	dst = append(dst, `,"payload":{"code":`...)
	dst = appendString(dst, string(e.Code))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	if e.RetryAfter > 0 {
		dst = append(dst, `,"retry_after_ms":`...)
		dst = strconv.AppendInt(dst, e.RetryAfter.Milliseconds(), 10)
	}
	return append(dst, "}}"...)
}

// AppendGap appends that the messages of topic with after < seq < before are lost.
func AppendGap(dst []byte, topic string, timestamp int64, after, before uint64, reason GapReason) []byte {
	dst = append(dst, `{"type":"gap","topic":`...)
	dst = appendString(dst, topic)
	dst = appendTimestamp(dst, timestamp)
	dst = append(dst, `,"payload":{"after":`...)
	dst = strconv.AppendUint(dst, after, 10)
	dst = append(dst, `,"before":`...)
	dst = strconv.AppendUint(dst, before, 10)
	dst = append(dst, `,"reason":`...)
	dst = appendString(dst, string(reason))
	return append(dst, "}}"...)
}

// AppendHeartbeat appends a heartbeat.
func AppendHeartbeat(dst []byte, timestamp int64) []byte {
	dst = append(dst, `{"type":"heartbeat"`...)
	dst = appendTimestamp(dst, timestamp)
	return append(dst, '}')
}

// AppendStatus appends how the edge has stood with NATS since then.
func AppendStatus(dst []byte, timestamp int64, degraded bool, since int64) []byte {
	upstream := UpstreamOK
	if degraded {
		upstream = UpstreamDegraded
	}
	dst = append(dst, `{"type":"status"`...)
	dst = appendTimestamp(dst, timestamp)
	dst = append(dst, `,"payload":{"upstream":`...)
	dst = appendString(dst, string(upstream))
	dst = append(dst, `,"since":`...)
	dst = strconv.AppendInt(dst, since, 10)
	return append(dst, "}}"...)
}

// AppendGoingAway appends that a client should connect anew after a random time
// from minMS to maxMS, and that the edge closes after deadlineMS.
func AppendGoingAway(dst []byte, timestamp int64, reason string, minMS, maxMS, deadlineMS int64) []byte {
	dst = append(dst, `{"type":"going_away"`...)
	dst = appendTimestamp(dst, timestamp)
	dst = append(dst, `,"payload":{"reason":`...)
	dst = appendString(dst, reason)
	dst = append(dst, `,"reconnect_ms":[`...)
	dst = strconv.AppendInt(dst, minMS, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, maxMS, 10)
	dst = append(dst, `],"deadline_ms":`...)
	dst = strconv.AppendInt(dst, deadlineMS, 10)
	return append(dst, "}}"...)
}

// AppendRefusal appends the body of an HTTP refusal.
func AppendRefusal(dst []byte, code Code, message string) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, string(code))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	return append(dst, '}')
}

func appendID(dst []byte, id uint64) []byte {
	dst = append(dst, `,"id":`...)
	return strconv.AppendUint(dst, id, 10)
}

func appendTimestamp(dst []byte, timestamp int64) []byte {
	dst = append(dst, `,"timestamp":`...)
	return strconv.AppendInt(dst, timestamp, 10)
}
