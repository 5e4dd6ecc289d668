package chaos

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// Times of the histories here.
var (
	began = time.Unix(1790000000, 0)
	ended = began.Add(10 * time.Second)
)

// honest is a history in which all is as promised: a stream with two topics, a client of the library's and a witness, each
// of which lost its connection after seq 5.
func honest() History {
	h := History{Scenario: "honest", Seed: 1, Began: began, Ended: ended}
	for seq := uint64(1); seq <= 10; seq++ {
		topic := "orders.a"
		if seq%2 == 0 {
			topic = "metrics.m"
		}
		n := int(seq+1) / 2
		h.Stored = append(h.Stored, Stored{topic, seq, n})
		h.Acked = append(h.Acked, Acked{topic, n, seq, began.Add(time.Duration(seq) * time.Second)})
	}
	for _, client := range []Client{
		{Name: "lib", Kind: Library, Patterns: []string{"orders.*", "metrics.*"}},
		{Name: "wit", Kind: Witness, Patterns: []string{"orders.*", "metrics.*"}},
	} {
		h.Clients = append(h.Clients, client)
		add := func(e Event) {
			e.Client = client.Name
			h.Events = append(h.Events, e)
		}
		message := func(line int, s Stored) {
			prev := s.Seq - 2
			if s.Seq <= 2 {
				prev = 0
			}
			add(Event{What: Message, Line: line, Topic: s.Topic, Seq: s.Seq, Prev: prev, N: s.N,
				At: began.Add(time.Duration(s.Seq)*time.Second + 50*time.Millisecond).UnixMicro()})
		}
		add(Event{What: Subscribed, Line: 1, Pattern: "orders.*"})
		add(Event{What: Subscribed, Line: 1, Pattern: "metrics.*"})
		for _, s := range h.Stored[:5] {
			message(1, s)
		}
		add(Event{What: Disconnected, Text: "killed"})
		add(Event{What: Subscribed, Line: 2, Pattern: "orders.*", Since: 5, Seq: 7, Resumed: true, Recovered: true})
		add(Event{What: Subscribed, Line: 2, Pattern: "metrics.*", Seq: 7, Resumed: true, Recovered: true})
		for _, s := range h.Stored[5:] {
			message(2, s)
		}
	}
	return h
}

func TestCheck_FindsNothingInAnHonestHistory(t *testing.T) {
	r := Check(honest(), Rules{})
	if len(r.Faults) > 0 {
		t.Errorf("faults: %v", r.Faults)
	}
	if r.Messages != 20 || r.Resumes != 4 || r.Offline != 2 {
		t.Errorf("%d messages, %d resumes, %d times offline", r.Messages, r.Resumes, r.Offline)
	}
	if r.Silence != 1050*time.Millisecond || r.Late != 50*time.Millisecond {
		t.Errorf("silence %v of %s, late %v", r.Silence, r.Silent, r.Late)
	}
}

// event finds the first of a client that matches.
func event(h History, client string, matches func(Event) bool) int {
	return slices.IndexFunc(h.Events, func(e Event) bool { return e.Client == client && matches(e) })
}

func at(seq uint64) func(Event) bool {
	return func(e Event) bool { return e.What == Message && e.Seq == seq }
}

func without(h History, client string, seq uint64) History {
	i := event(h, client, at(seq))
	h.Events = slices.Delete(slices.Clone(h.Events), i, i+1)
	return h
}

// Each history is the honest one with one thing wrong, and each breach is found in one of them and alone.
func TestCheck_FindsWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(History) History
		found Breach
	}{
		"a message in mid-stream is missing": {func(h History) History { return without(h, "lib", 9) }, Missing},
		"the last message is missing":        {func(h History) History { return without(without(h, "wit", 9), "lib", 9) }, Missing},
		"a message that the ack promised":    {func(h History) History { return without(h, "wit", 7) }, Lied},
		"and the library's ack":              {func(h History) History { return without(h, "lib", 7) }, Lied},
		"the newest value is missing":        {func(h History) History { return without(h, "lib", 10) }, Stale},
		"no value ever came": {func(h History) History {
			h.Events = slices.DeleteFunc(h.Events, func(e Event) bool {
				return e.Client == "wit" && e.What == Message && e.Topic == "metrics.m"
			})
			return h
		}, Stale},
		"a message comes twice": {func(h History) History {
			i := event(h, "lib", at(3))
			h.Events = slices.Insert(h.Events, i, h.Events[i])
			return h
		}, Twice},
		"a message comes twice over two connections": {func(h History) History {
			i, j := event(h, "wit", at(5)), event(h, "wit", at(7))
			again := h.Events[i]
			again.Line = 2
			h.Events = slices.Insert(h.Events, j, again)
			return h
		}, Twice},
		"a value comes twice to the library": {func(h History) History {
			i, j := event(h, "lib", at(4)), event(h, "lib", at(6))
			again := h.Events[i]
			again.Line = 2
			h.Events = slices.Insert(h.Events, j, again)
			return h
		}, Twice},
		"two messages change places": {func(h History) History {
			i, j := event(h, "lib", at(7)), event(h, "lib", at(9))
			h.Events[i], h.Events[j] = h.Events[j], h.Events[i]
			return h
		}, Disorder},
		"a message names another predecessor": {func(h History) History {
			h.Events[event(h, "wit", at(9))].Prev = 5
			return h
		}, Chain},
		"a message has another's payload": {func(h History) History {
			h.Events[event(h, "lib", at(9))].N = 1
			return h
		}, Foreign},
		"a value is said to have lapsed": {func(h History) History {
			h.Events[event(h, "lib", at(8))].Gone = true
			return h
		}, Foreign},
		"a message of a topic not asked for": {func(h History) History {
			h.Clients[0].Patterns = []string{"orders.*"}
			return h
		}, Foreign},
		"a gap is told": {func(h History) History {
			h.Events = append(h.Events, Event{Client: "lib", What: Gap, Topic: "orders.a", After: 9, Before: 12, Text: "upstream"})
			return h
		}, GapTold},
		"a position is said to be void": {func(h History) History {
			h.Events[event(h, "wit", func(e Event) bool { return e.Resumed })].Recovered = false
			return h
		}, Void},
		"the stream lost what it acknowledged": {func(h History) History {
			h.Acked = append(h.Acked, Acked{"orders.a", 7, 13, ended})
			return h
		}, Lost},
		"a pattern is refused": {func(h History) History {
			h.Events = append(h.Events, Event{Client: "lib", What: Refused, Pattern: "orders.*", Text: "forbidden"})
			return h
		}, Abandoned},
		"a client never came": {func(h History) History {
			h.Clients = append(h.Clients, Client{Name: "late", Kind: Library, Patterns: []string{"alerts.>"}})
			return h
		}, Abandoned},
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(tc.spoil(honest()), Rules{})
			if r.Count(tc.found) == 0 || len(r.Faults) != r.Count(tc.found) {
				t.Errorf("faults: %v", r.Faults)
			}
			for _, f := range r.Faults {
				if !strings.Contains(f.String(), string(tc.found)+": ") {
					t.Errorf("%q does not say %s", f, tc.found)
				}
			}
		})
	}
}

// What was lost and told is no fault where a scenario allows it; what was lost beside it is.
func TestCheck_TakesAGapThatIsAllowedAndCoversTheLoss(t *testing.T) {
	h := without(honest(), "lib", 7)
	i := event(h, "lib", at(9))
	h.Events = slices.Insert(h.Events, i, Event{Client: "lib", What: Gap, Topic: "orders.a", After: 5, Before: 9, Text: "upstream"})
	if r := Check(h, Rules{Gaps: true}); len(r.Faults) > 0 {
		t.Errorf("faults: %v", r.Faults)
	}
	if r := Check(without(h, "lib", 9), Rules{Gaps: true}); r.Count(Missing) != 1 || len(r.Faults) != 1 {
		t.Errorf("faults: %v", r.Faults)
	}
	if r := Check(h, Rules{}); r.Count(GapTold) != 1 || len(r.Faults) != 1 {
		t.Errorf("faults: %v", r.Faults)
	}
}

// A client's silence counts to the end of the load, also when nothing ends it.
func TestCheck_MeasuresSilenceThatLasts(t *testing.T) {
	h := honest()
	h.Events = slices.DeleteFunc(h.Events, func(e Event) bool { return e.Client == "wit" && e.What == Message && e.Seq > 4 })
	if r := Check(h, Rules{}); r.Silent != "wit" || r.Silence != 10*time.Second-4050*time.Millisecond {
		t.Errorf("silence %v of %s", r.Silence, r.Silent)
	}
}

func TestJournal_IsReadBackAsItWasWritten(t *testing.T) {
	var file bytes.Buffer
	j := NewJournal(&file)
	clients := []Client{{Name: "a", Patterns: []string{"orders.>"}}, {Name: "b", Patterns: []string{"metrics.*"}}}
	last := map[string]uint64{"orders.x": 7, "metrics.m": 3}
	if n := j.Behind(clients, last); n != 2 {
		t.Errorf("%d are behind at the start", n)
	}
	wrote := []Event{
		{Client: "a", What: Message, Topic: "orders.x", Seq: 7, Prev: 5, N: 3},
		{Client: "b", What: Gap, Topic: "orders.x", After: 1, Before: 5, Text: "slow"},
	}
	for _, e := range wrote {
		j.Add(e)
	}
	if n := j.Behind(clients, last); n != 1 {
		t.Errorf("%d are behind at the end", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := ReadEvents(&file)
	if err != nil || len(read) != len(wrote) {
		t.Fatalf("read %v, %v", read, err)
	}
	for i := range wrote {
		if wrote[i].At = read[i].At; read[i] != wrote[i] || time.Since(time.UnixMicro(read[i].At)) > time.Minute {
			t.Errorf("wrote %+v, read %+v", wrote[i], read[i])
		}
	}
	if _, err := ReadEvents(strings.NewReader(`{"c":"a"}` + "\n{")); err == nil || !strings.Contains(err.Error(), "event 2") {
		t.Errorf("a history that was cut off: %v", err)
	}
}
