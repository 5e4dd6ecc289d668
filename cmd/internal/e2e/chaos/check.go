package chaos

import (
	"fmt"
	"slices"
	"time"
)

// Breach is a promise that was not kept.
type Breach string

const (
	Lost      Breach = "lost"      // the stream acknowledged a message and does not have it: NATS' to answer for
	Missing   Breach = "missing"   // a client did not get a message of an `every` topic, and was told of no gap
	Lied      Breach = "lied"      // the same, and an ack had said that it would: recovered
	GapTold   Breach = "gap"       // a gap was told where nothing need be lost
	Void      Breach = "void"      // recovered was false where all is retained
	Twice     Breach = "twice"     // a message came twice
	Disorder  Breach = "disorder"  // a message came after a later one of its topic
	Chain     Breach = "chain"     // a message does not name its predecessor
	Stale     Breach = "stale"     // a client does not end with the newest value of a `latest` topic
	Foreign   Breach = "foreign"   // a message that nobody published, or nobody there asked for
	Abandoned Breach = "abandoned" // a client never subscribed, or was refused
)

// Breaches lists them all.
var Breaches = []Breach{Lost, Missing, Lied, GapTold, Void, Twice, Disorder, Chain, Stale, Foreign, Abandoned}

// Fault is one case of a breach.
type Fault struct {
	Breach Breach
	Client string
	Topic  string
	Text   string
}

func (f Fault) String() string {
	return fmt.Sprintf("%s: %s %s: %s", f.Breach, f.Client, f.Topic, f.Text)
}

// Rules is what a scenario allows.
type Rules struct {
	Gaps bool // messages may be lost for good, as long as it is told
}

// Report is a verdict on a history, and its measures.
type Report struct {
	Faults   []Fault
	Messages int           // that clients had
	Silence  time.Duration // the longest that a client had nothing at all while there was a load
	Silent   string        // the client
	Late     time.Duration // the longest from an acknowledgement to a client of an `every` topic
	Offline  int           // times that a client had no connection
	Resumes  int           // acks of a position
}

// Count tells how many faults are of a breach.
func (r Report) Count(b Breach) (n int) {
	for _, f := range r.Faults {
		if f.Breach == b {
			n++
		}
	}
	return n
}

// Check judges a history.
func Check(h History, rules Rules) Report {
	c := checker{rules: rules, stored: map[string][]Stored{}, place: map[uint64]int{}, acked: map[uint64]time.Time{}, newest: map[string]Stored{}}
	c.enter(h)
	events := map[string][]Event{}
	for _, e := range h.Events {
		events[e.Client] = append(events[e.Client], e)
	}
	for _, client := range h.Clients {
		c.judge(client, events[client.Name])
		c.measure(client, events[client.Name], h.Began, h.Ended)
	}
	return c.report
}

// checker knows the truth, which is the stream's.
type checker struct {
	rules  Rules
	stored map[string][]Stored // by topic, by rising seq
	place  map[uint64]int      // of a seq in the stored ones of its topic
	acked  map[uint64]time.Time
	newest map[string]Stored
	report Report
}

func (c *checker) enter(h History) {
	for _, s := range h.Stored {
		c.place[s.Seq] = len(c.stored[s.Topic])
		c.stored[s.Topic] = append(c.stored[s.Topic], s)
		c.newest[s.Topic] = s
	}
	for _, a := range h.Acked {
		c.acked[a.Seq] = a.At
		if s, ok := c.find(a.Topic, a.Seq); !ok || s.N != a.N {
			c.fault(Lost, "stream", a.Topic, "number %d was acknowledged at %d, where it has %+v", a.N, a.Seq, s)
		}
	}
}

func (c *checker) find(topic string, seq uint64) (Stored, bool) {
	if i, ok := c.place[seq]; ok && i < len(c.stored[topic]) && c.stored[topic][i].Seq == seq {
		return c.stored[topic][i], true
	}
	return Stored{}, false
}

// faultsMax is how many are told of one client's topic; what went wrong once mostly went wrong often.
const faultsMax = 5

func (c *checker) fault(b Breach, client, topic, format string, args ...any) {
	same := func(f Fault) bool { return f.Breach == b && f.Client == client && f.Topic == topic }
	n := 0
	for _, f := range c.report.Faults {
		if same(f) {
			n++
		}
	}
	if n < faultsMax {
		c.report.Faults = append(c.report.Faults, Fault{b, client, topic, fmt.Sprintf(format, args...)})
	}
}

// judge looks at one client.
func (c *checker) judge(client Client, events []Event) {
	topics := map[string][]Event{}
	var acks []Event
	for _, e := range events {
		switch e.What {
		case Subscribed:
			acks = append(acks, e)
			if e.Resumed && !e.Recovered && !c.rules.Gaps {
				c.fault(Void, client.Name, e.Pattern, "resumed behind %d and told at %d that something is lost", e.Since, e.Seq)
			}
		case Message:
			topics[e.Topic] = append(topics[e.Topic], e)
		case Gap:
			topics[e.Topic] = append(topics[e.Topic], e)
			if !c.rules.Gaps {
				c.fault(GapTold, client.Name, e.Topic, "after %d before %d: %s", e.After, e.Before, e.Text)
			}
		case Refused:
			c.fault(Abandoned, client.Name, e.Pattern, "%s", e.Text)
		}
	}
	for _, p := range client.Patterns {
		if !slices.ContainsFunc(acks, func(e Event) bool { return e.Pattern == p }) {
			c.fault(Abandoned, client.Name, p, "was never subscribed")
		}
	}
	for topic, list := range topics {
		c.sequence(client, topic, list)
	}
	for topic := range c.stored {
		switch {
		case !client.wants(topic):
		case every(topic):
			c.complete(client, topic, topics[topic], events)
		default:
			c.current(client, topic, topics[topic])
		}
	}
}

// sequence holds what a client got of a topic against what a topic may be: rising, each once, each naming its predecessor.
func (c *checker) sequence(client Client, topic string, list []Event) {
	if !client.wants(topic) {
		c.fault(Foreign, client.Name, topic, "%d messages of a topic that it never asked for", len(list))
		return
	}
	_, known := c.stored[topic]
	var last Event
	for _, e := range list {
		if e.What != Message || e.Seq == 0 {
			continue
		}
		// A witness that comes back to a latest topic is sent its value again.
		again := client.Kind == Witness && !every(topic) && e.Line != last.Line
		switch {
		case e.Seq == last.Seq && !again:
			c.fault(Twice, client.Name, topic, "%d", e.Seq)
		case e.Seq < last.Seq && !again:
			c.fault(Disorder, client.Name, topic, "%d after %d", e.Seq, last.Seq)
		case known:
			c.truth(client, topic, e)
		}
		last = e
	}
}

// truth holds a message against the stream's.
func (c *checker) truth(client Client, topic string, e Event) {
	s, ok := c.find(topic, e.Seq)
	if !ok || s.N != e.N || e.Gone {
		c.fault(Foreign, client.Name, topic, "%d with number %d, where the stream has %+v", e.Seq, e.N, s)
		return
	}
	var before uint64
	if i := c.place[e.Seq]; i > 0 {
		before = c.stored[topic][i-1].Seq
	}
	if e.Prev != before {
		c.fault(Chain, client.Name, topic, "%d names %d as its predecessor, which is %d", e.Seq, e.Prev, before)
	}
}

// complete looks for messages of an `every` topic that a client did not get.
func (c *checker) complete(client Client, topic string, list, events []Event) {
	from, subscribed := start(topic, events)
	if !subscribed {
		return // told already
	}
	had := map[uint64]bool{}
	var gaps []Event
	for _, e := range list {
		if had[e.Seq] = true; e.What == Gap {
			gaps = append(gaps, e)
		}
	}
	told := 0
	for _, s := range c.stored[topic] {
		covered := func(g Event) bool { return g.After < s.Seq && s.Seq < g.Before }
		if s.Seq <= from || had[s.Seq] || slices.ContainsFunc(gaps, covered) {
			continue
		}
		if told++; told > faultsMax {
			return
		}
		if ack, ok := promised(topic, s.Seq, events); ok {
			c.fault(Lied, client.Name, topic, "%d never came, although %s was acked at %d as recovered", s.Seq, ack.Pattern, ack.Seq)
			continue
		}
		c.fault(Missing, client.Name, topic, "%d (number %d) never came", s.Seq, s.N)
	}
}

// start is from where on a client was to get all messages of a topic.
func start(topic string, events []Event) (seq uint64, ok bool) {
	for _, e := range events {
		if e.What == Subscribed && (Client{Patterns: []string{e.Pattern}}).wants(topic) && (!ok || e.Seq < seq) {
			seq, ok = e.Seq, true
		}
	}
	return seq, ok
}

// promised finds an ack which said that a message would come: it was behind all that the client had had of the pattern, and
// not behind the position that the ack gave.
func promised(topic string, seq uint64, events []Event) (Event, bool) {
	for i, ack := range events {
		by := Client{Patterns: []string{ack.Pattern}}
		if ack.What != Subscribed || !ack.Recovered || ack.Seq < seq || !by.wants(topic) {
			continue
		}
		since := ack.Since
		for _, e := range events[:i] {
			if e.What == Message && every(e.Topic) && by.wants(e.Topic) {
				since = max(since, e.Seq)
			}
		}
		if since < seq {
			return ack, true
		}
	}
	return Event{}, false
}

// current looks whether a client ends with the newest value.
func (c *checker) current(client Client, topic string, list []Event) {
	newest := c.newest[topic]
	for _, e := range slices.Backward(list) {
		if e.What == Message {
			if e.Seq < newest.Seq {
				c.fault(Stale, client.Name, topic, "it ends with number %d at %d, the newest is %d at %d", e.N, e.Seq, newest.N, newest.Seq)
			}
			return
		}
	}
	c.fault(Stale, client.Name, topic, "it never had a value")
}

// measure takes the times of one client.
func (c *checker) measure(client Client, events []Event, began, ended time.Time) {
	r := &c.report
	last := began
	for _, e := range events {
		at := time.UnixMicro(e.At)
		switch e.What {
		case Disconnected:
			r.Offline++
		case Subscribed:
			if e.Resumed {
				r.Resumes++
			}
		case Message:
			r.Messages++
			if at.After(ended) {
				at = ended // what comes later is not waited for by the clock
			}
			if quiet := at.Sub(last); quiet > r.Silence {
				r.Silence, r.Silent = quiet, client.Name
			}
			if at.After(last) {
				last = at
			}
			if acked, ok := c.acked[e.Seq]; ok && every(e.Topic) {
				r.Late = max(r.Late, time.UnixMicro(e.At).Sub(acked))
			}
		}
	}
	if quiet := ended.Sub(last); quiet > r.Silence {
		r.Silence, r.Silent = quiet, client.Name
	}
}
