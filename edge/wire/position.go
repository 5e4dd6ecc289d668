package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Subprotocol is the WebSocket subprotocol of this version.
const Subprotocol = "tidings.v1"

// Position is a place in the retained stream: the messages up to and with Seq of
// that life of the stream which Epoch names.
type Position struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// String is the position as one word, epoch:seq, the form of an SSE event id.
func (p Position) String() string { return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10) }

// ParsePosition reads what [Position.String] writes.
func ParsePosition(s string) (Position, error) {
	epoch, seq, found := strings.Cut(s, ":")
	if !found || epoch == "" {
		return Position{}, errors.New("a position is written epoch:seq")
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || n > maxInteger {
		return Position{}, fmt.Errorf("a position is written epoch:seq, and %q is no sequence number", shorten(seq))
	}
	return Position{Epoch: epoch, Seq: n}, nil
}

// GapReason says why messages are lost for good.
type GapReason string

const (
	GapExpired  GapReason = "expired"  // older than what is retained
	GapSlow     GapReason = "slow"     // this client fell behind further than what is retained
	GapUpstream GapReason = "upstream" // lost between NATS and the edge, and not recoverable
	GapEpoch    GapReason = "epoch"    // the stream was made anew
)

// GapReasons lists every reason of a gap.
var GapReasons = []GapReason{GapExpired, GapSlow, GapUpstream, GapEpoch}
