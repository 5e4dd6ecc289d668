package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxReads      = 8       // reads at once; each holds at most what it was asked for
	maxPipelined  = 64      // requests of one read that wait for answers at once
	maxReplies    = 4096    // messages of one read that may wait in its channel
	maxMultiLast  = 1024    // topics that NATS answers in one batch
	maxFilterSize = 1 << 18 // bytes of filters in one request; NATS takes 1 MiB
	pageMessages  = 1000
	pageBytes     = 4 << 20
)

// errAgain means that what was read changed while it was read.
var errAgain = errors.New("the stream changed while it was read")

// errLags is an errAgain: a replica may take part that was cut off from the others, and knows only what was before.
var errLags = fmt.Errorf("the replica that answered lags behind: %w", errAgain)

// getRequest is the part of JetStream's Direct Get that we use (JSApiMsgGetRequest of nats-server).
type getRequest struct {
	Seq       uint64   `json:"seq,omitempty"`          // from here on
	NextFor   string   `json:"next_by_subj,omitempty"` // messages of this subject, oldest first
	MultiLast []string `json:"multi_last,omitempty"`   // the last message of each of these subjects, by rising Seq
	UpTo      uint64   `json:"up_to_seq,omitempty"`    // as things stood when this was the newest
	Batch     int      `json:"batch,omitempty"`        // messages at most; 0: one, and no end mark follows
	MaxBytes  int      `json:"max_bytes,omitempty"`    // stop after this many
}

// getEnd is how one request ended.
type getEnd struct {
	pending uint64 // messages that did not fit into this batch
	last    uint64 // Seq of the last message of the batch
	upTo    uint64 // of MultiLast: the Seq up to which the stream was looked at; 0 when it found nothing
	tooMany bool   // of MultiLast: there are more than 1,024 subjects
}

// get sends requests by one inbox, at most maxPipelined of them ahead, and calls take for each message as it arrives, with
// the index of its request. It returns when all requests were answered wholly; any other end is an error.
func (c *Conn) get(ctx context.Context, requests []getRequest, take func(i int, m *nats.Msg)) ([]getEnd, error) {
	up, err := c.isUp()
	if err != nil {
		return nil, err
	}
	window := len(requests)
	for _, r := range requests {
		window = min(window, maxPipelined, max(1, maxReplies/(r.Batch+1)))
	}
	room := 0
	for _, r := range requests {
		room = max(room, window*(r.Batch+1))
	}
	replies := make(chan *nats.Msg, room)
	inbox := c.nc.NewInbox()
	sub, err := c.nc.ChanSubscribe(inbox+".*", replies)
	if err != nil {
		return nil, lineError(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the line is closed, and the subscription with it

	ends := make([]getEnd, len(requests))
	sent, open := 0, 0
	silence := time.NewTimer(callTimeout)
	defer silence.Stop()
	for sent < len(requests) || open > 0 {
		for ; sent < len(requests) && open < window; sent, open = sent+1, open+1 {
			if err := c.sendGet(requests[sent], inbox+"."+strconv.Itoa(sent)); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-up.Done():
			return nil, ErrUnavailable
		case <-silence.C:
			return nil, fmt.Errorf("no answer within %v", callTimeout)
		case m := <-replies:
			i, err := strconv.Atoi(m.Subject[len(inbox)+1:])
			if err != nil || i >= sent {
				continue // somebody else's
			}
			ended, err := readReply(&ends[i], requests[i], m)
			if err != nil {
				if errors.Is(err, ErrNoStream) {
					c.lookNow()
				}
				return nil, err
			}
			if m.Header.Get("Status") == "" {
				take(i, m)
			}
			if ended {
				open--
			}
			silence.Reset(callTimeout)
		}
	}
	return ends, nil
}

func (c *Conn) sendGet(r getRequest, reply string) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a Direct Get: %w", err)
	}
	if err := c.nc.PublishRequest(c.cfg.API+".DIRECT.GET."+c.cfg.Stream.Name, reply, body); err != nil {
		return lineError(err)
	}
	return nil
}

// readReply notes what one reply says of its request, and whether it was the last one.
func readReply(end *getEnd, r getRequest, m *nats.Msg) (ended bool, err error) {
	switch status := m.Header.Get("Status"); status {
	case "":
		if r.Batch == 0 {
			return true, nil
		}
		// Each message of a batch names the one before it in the batch, so a lost reply shows.
		if number(m, headerLast) != end.last {
			return false, fmt.Errorf("replies of NATS were lost: %w", errAgain)
		}
		end.last = number(m, headerSequence)
		return false, nil
	case "204":
		if number(m, headerLast) != end.last {
			return false, fmt.Errorf("replies of NATS were lost: %w", errAgain)
		}
		end.pending = number(m, "Nats-Num-Pending")
		end.upTo = number(m, "Nats-UpTo-Sequence")
		return true, nil
	case "404":
		if len(r.MultiLast) > 0 && m.Header.Get("Description") != "No Results" {
			return false, errAgain // one of the messages that it had found was gone before it could be sent
		}
		return true, nil
	case "413":
		end.tooMany = true
		return true, nil
	case "503":
		return false, ErrNoStream
	default:
		return false, fmt.Errorf("NATS refuses a Direct Get: %s %s", status, m.Header.Get("Description"))
	}
}

func number(m *nats.Msg, header string) uint64 {
	n, err := strconv.ParseUint(lastValue(m.Header, header), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
