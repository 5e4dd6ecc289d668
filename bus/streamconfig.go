package bus

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// wantedStream is the stream of DESIGN §2 with the operator's limits.
func (c *Conn) wantedStream() jetstream.StreamConfig {
	s := c.cfg.Stream
	storage := jetstream.FileStorage
	if s.Storage == "memory" {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name:              s.Name,
		Description:       "Tidings: what was published, in order",
		Subjects:          []string{c.subjects.pub + ">"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxAge:            s.MaxAge,
		MaxMsgsPerSubject: int64(s.MaxPerTopic),
		MaxBytes:          s.MaxBytes,
		MaxMsgs:           -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Storage:           storage,
		Replicas:          s.Replicas,
		Duplicates:        s.Duplicates,
		RePublish:         &jetstream.RePublish{Source: c.subjects.pub + ">", Destination: c.subjects.live + ">"},
		AllowDirect:       true,
		AllowMsgTTL:       true,
		// A marker also rolls up its topic, so NATS asks for both.
		SubjectDeleteMarkerTTL: s.MarkerTTL,
		AllowRollup:            true,
	}
}

// outOfDate names what of have an update would change, with both values.
func outOfDate(have, want jetstream.StreamConfig) []string {
	var differ []string
	compare := func(what string, h, w any) {
		if h != w {
			differ = append(differ, fmt.Sprintf("%s: is %v, should be %v", what, h, w))
		}
	}
	compare("subjects", covered(have.Subjects, want.Subjects[0]), true)
	compare("retention", have.Retention, want.Retention)
	compare("discard", have.Discard, want.Discard)
	compare("storage", have.Storage, want.Storage)
	compare("max_age", have.MaxAge, want.MaxAge)
	compare("max_per_topic", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	compare("max_bytes", have.MaxBytes, want.MaxBytes)
	compare("replicas", have.Replicas, want.Replicas)
	compare("duplicates", have.Duplicates, want.Duplicates)
	compare("republish", republishOf(have), republishOf(want))
	compare("allow_direct", have.AllowDirect, want.AllowDirect)
	compare("allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL)
	compare("marker_ttl", have.SubjectDeleteMarkerTTL, want.SubjectDeleteMarkerTTL)
	return differ
}

// unusable names what of have breaks the protocol, whoever configured it.
func unusable(have, want jetstream.StreamConfig) []error {
	var broken []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Errorf(format, args...))
		}
	}
	demand(covered(have.Subjects, want.Subjects[0]), "subjects %v do not take %s", have.Subjects, want.Subjects[0])
	demand(republishOf(have) == republishOf(want), "republish is %s, must be %s: without it nothing is live",
		republishOf(have), republishOf(want))
	demand(have.AllowDirect, "allow_direct is false: nothing can be read back")
	demand(have.AllowMsgTTL, "allow_msg_ttl is false: publishers set a TTL")
	demand(have.Retention == jetstream.LimitsPolicy, "retention is %v, must be limits", have.Retention)
	if have.Sealed {
		broken = append(broken, errors.New("it is sealed"))
	}
	return broken
}

func republishOf(cfg jetstream.StreamConfig) string {
	switch r := cfg.RePublish; {
	case r == nil:
		return "off"
	case r.HeadersOnly:
		return r.Source + " → " + r.Destination + " (headers only)"
	default:
		return r.Source + " → " + r.Destination
	}
}

// covered tells whether one of subjects takes all that base (which ends in ">") stands for.
func covered(subjects []string, base string) bool {
	return slices.ContainsFunc(subjects, func(s string) bool {
		return covers(s, base)
	})
}
