package publisher

import (
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// placeInConflict is the place of the topic's last message as NATS told it in
// refusing ours, markers included; 0 if it didn't. NATS writes it into the words
// of the error alone: "wrong last sequence: 42".
func placeInConflict(err error) uint64 {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		return 0
	}
	words := refusal.Description
	place, err := strconv.ParseUint(words[strings.LastIndexByte(words, ' ')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return place
}
