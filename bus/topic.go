package bus

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of the grammar, for topics and patterns alike (PROTOCOL §1).
const (
	MaxTokens     = 16
	MaxTopicBytes = 255
)

// Topic names one sequence of messages: dot-separated tokens of [A-Za-z0-9_-]. A Topic that came from ParseTopic is
// valid; one converted from a string by hand is a bug.
type Topic string

// Delivery says how a topic's messages reach a client that cannot keep up.
type Delivery uint8

const (
	Every  Delivery = iota // each message matters: the default for types this project does not know
	Latest                 // only the newest matters
)

// String is the word of PROTOCOL §1.
func (d Delivery) String() string {
	if d == Latest {
		return "latest"
	}
	return "every"
}

// reservedTypes are the message types of the client protocol; as a topic's type they could not be told apart on a socket.
var reservedTypes = []string{
	"connected", "ack", "error", "heartbeat", "gap", "status", "going_away", "subscribe", "unsubscribe", "action", "refresh",
}

// latestTTL lists the types with delivery Latest, and how long NATS keeps one message of each (DESIGN §2).
var latestTTL = map[string]time.Duration{
	"host":            15 * time.Second, // sent every few seconds: its lapse says that the host is gone
	"metrics":         5 * time.Minute,  // a chart opens full
	"container-stats": 5 * time.Minute,
	"containers":      3 * time.Minute, // listed anew each minute: two lists may fail before the last one lapses
}

// ParseTopic accepts what PROTOCOL §1 calls a topic. The error says what is wrong and at which byte.
func ParseTopic(s string) (Topic, error) {
	if err := checkTokens(s, false); err != nil {
		return "", fmt.Errorf("topic %q: %w", clip(s), err)
	}
	return Topic(s), nil
}

// Type is the topic's first token.
func (t Topic) Type() string {
	first, _, _ := strings.Cut(string(t), ".")
	return first
}

// Delivery is Latest for the types that hold a state (host, metrics, containers, container-stats), Every for all others.
func (t Topic) Delivery() Delivery {
	if _, ok := latestTTL[t.Type()]; ok {
		return Latest
	}
	return Every
}

// TTL is how long NATS keeps a message of this topic unless its publisher says otherwise: 15 s for host, 5 min for metrics
// and container-stats, 3 min for containers. 0, for all others, means as long as the stream's limits allow.
func TTL(t Topic) time.Duration {
	return latestTTL[t.Type()]
}

// HostToken is the token that stands for a host in topics: the lower-cased name with each character outside [a-z0-9_-]
// turned into "-" (PROTOCOL §1). An empty name has no token, and the topic made of it does not parse.
func HostToken(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isTokenByte(byte(r)) {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// checkTokens is the grammar of topics, and of patterns where wildcards is set.
func checkTokens(s string, wildcards bool) error {
	if s == "" {
		return fmt.Errorf("is empty")
	}
	if len(s) > MaxTopicBytes {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), MaxTopicBytes)
	}
	tokens := 0
	for start := 0; start <= len(s); {
		end := start
		for end < len(s) && s[end] != '.' {
			end++
		}
		tokens++
		last := end == len(s)
		if err := checkToken(s[start:end], start, last, wildcards); err != nil {
			return err
		}
		if tokens == 1 && slices.Contains(reservedTypes, s[:end]) {
			return fmt.Errorf("type %q is reserved for the protocol's own messages", s[:end])
		}
		start = end + 1
	}
	if tokens > MaxTokens {
		return fmt.Errorf("has %d tokens, at most %d are allowed", tokens, MaxTokens)
	}
	return nil
}

func checkToken(token string, at int, last, wildcards bool) error {
	if token == "" {
		return fmt.Errorf("empty token at byte %d", at)
	}
	if wildcards && token == "*" {
		return nil
	}
	if wildcards && token == ">" {
		if !last {
			return fmt.Errorf(`">" at byte %d is allowed only as the last token`, at)
		}
		return nil
	}
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case isTokenByte(c):
		case wildcards && (c == '*' || c == '>'):
			return fmt.Errorf("wildcard %q at byte %d must be a token of its own", c, at+i)
		default:
			return fmt.Errorf("byte %d is %q, only A-Z a-z 0-9 _ - and dots between tokens are allowed", at+i, c)
		}
	}
	return nil
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// clip keeps what a stranger sent from filling an error message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
