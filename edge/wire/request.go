package wire

import (
	"strconv"
	"time"
)

// RequestType is the type of what a client says.
type RequestType string

const (
	Subscribe       RequestType = "subscribe"   // deliver these topics from now on
	Unsubscribe     RequestType = "unsubscribe" // no longer deliver them
	DoAction        RequestType = "action"      // act on a container
	Refresh         RequestType = "refresh"     // a newer token for this connection
	ClientHeartbeat RequestType = "heartbeat"   // are you there
)

// RequestTypes lists every type of request.
var RequestTypes = []RequestType{Subscribe, Unsubscribe, DoAction, Refresh, ClientHeartbeat}

// Limits of the values in a request.
const (
	MaxLast     = 1024 // messages of each topic that a subscribe replays
	MinInterval = 100 * time.Millisecond
	MaxInterval = time.Minute
	MinTimeout  = time.Second
	MaxTimeout  = time.Minute

	// maxInteger is the largest integer that every JSON reader keeps exact
	// (RFC 8259 §6).
	maxInteger = 1 << 53
)

// Request is one thing that a client asks. Which fields count depends on Type.
type Request struct {
	Type   RequestType
	ID     uint64  // chosen by the client, 1 to 2^53
	Topics []Want  // Subscribe and Unsubscribe: at least one
	Action *Action // DoAction
	Token  string  // Refresh
}

// Want is a pattern in a subscribe, and how it is wanted. An unsubscribe looks at
// Topic alone. The short form, a bare string, is Want{Topic: …, Snapshot: true}.
type Want struct {
	Topic    string        // a topic or pattern; not empty, its grammar not checked here
	Since    *Position     // resume after this; nil: start afresh
	Last     int           // replay up to so many retained messages of each topic, 1 to MaxLast; 0: not asked for
	Snapshot bool          // send what is retained first; false: live messages only
	Interval time.Duration // latest topics no more often than this, MinInterval to MaxInterval; 0: as they come
}

// Verb is what an action does to a container.
type Verb string

const (
	Start   Verb = "start"   // from created or exited to running
	Stop    Verb = "stop"    // SIGTERM, and SIGKILL after the stop grace
	Restart Verb = "restart" // stop, then start
	Pause   Verb = "pause"   // freeze all processes
	Unpause Verb = "unpause" // thaw them
	Kill    Verb = "kill"    // SIGKILL
	Remove  Verb = "remove"  // delete the container
)

// Verbs lists every verb.
var Verbs = []Verb{Start, Stop, Restart, Pause, Unpause, Kill, Remove}

// Action is what a client asks to be done to one container.
type Action struct {
	Host      string // host token
	Container string // a name, or an id prefix of 12 or more
	Verb      Verb
	Timeout   time.Duration // MinTimeout to MaxTimeout; 0: the stop grace and 15 s more
}

// AppendRequest appends r as a client sends it. A request out of the limits
// above is written as it is: the edge says what is wrong with it.
func AppendRequest(dst []byte, r Request) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendString(dst, string(r.Type))
	dst = append(dst, `,"id":`...)
	dst = strconv.AppendUint(dst, r.ID, 10)
	switch r.Type {
	case Subscribe:
		dst = append(dst, `,"topics":[`...)
		for i, w := range r.Topics {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendWant(dst, w)
		}
		dst = append(dst, ']')
	case Unsubscribe:
		dst = append(dst, `,"topics":[`...)
		for i, w := range r.Topics {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, w.Topic)
		}
		dst = append(dst, ']')
	case DoAction:
		if a := r.Action; a != nil {
			dst = append(dst, `,"host":`...)
			dst = appendString(dst, a.Host)
			dst = append(dst, `,"container":`...)
			dst = appendString(dst, a.Container)
			dst = append(dst, `,"action":`...)
			dst = appendString(dst, string(a.Verb))
			if a.Timeout != 0 {
				dst = append(dst, `,"timeout_ms":`...)
				dst = strconv.AppendInt(dst, a.Timeout.Milliseconds(), 10)
			}
		}
	case Refresh:
		dst = append(dst, `,"token":`...)
		dst = appendString(dst, r.Token)
	}
	return append(dst, '}')
}

func appendWant(dst []byte, w Want) []byte {
	if w.Since == nil && w.Last == 0 && w.Snapshot && w.Interval == 0 {
		return appendString(dst, w.Topic)
	}
	dst = append(dst, `{"topic":`...)
	dst = appendString(dst, w.Topic)
	if w.Since != nil {
		dst = append(dst, `,"since":{"epoch":`...)
		dst = appendString(dst, w.Since.Epoch)
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, w.Since.Seq, 10)
		dst = append(dst, '}')
	}
	if w.Last != 0 {
		dst = append(dst, `,"last":`...)
		dst = strconv.AppendInt(dst, int64(w.Last), 10)
	}
	if !w.Snapshot {
		dst = append(dst, `,"snapshot":false`...)
	}
	if w.Interval != 0 {
		dst = append(dst, `,"interval_ms":`...)
		dst = strconv.AppendInt(dst, w.Interval.Milliseconds(), 10)
	}
	return append(dst, '}')
}
