package bus

import (
	"strconv"
	"time"
)

// Position is a place in the retained stream (PROTOCOL §1).
type Position struct {
	Epoch string // one life of the stream
	Seq   uint64 // counts the messages of that life over all topics, from 1
}

// epochOf names a life of the stream by the moment of its creation, which NATS keeps through restarts and updates:
// nanoseconds since 1970 in base 36.
func epochOf(created time.Time) string {
	return strconv.FormatInt(created.UnixNano(), 36)
}
