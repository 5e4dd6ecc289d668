package bus_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"tidings/bus"
)

func TestParseTopic_TakesTheGrammarAndNothingElse(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, good := range []string{"metrics.web-1", "a", "A.b_C.9-", long, strings.Repeat("a.", 15) + "a", "connected-x", "x.connected"} {
		if got, err := bus.ParseTopic(good); err != nil || string(got) != good {
			t.Errorf("ParseTopic(%q) = %q, %v", good, got, err)
		}
	}
	for bad, says := range map[string]string{
		"":                             "is empty",
		".":                            "empty token at byte 0",
		"a.":                           "empty token at byte 2",
		"a..b":                         "empty token at byte 2",
		".a":                           "empty token at byte 0",
		"a b":                          `byte 1 is ' '`,
		"a.b\r\nPUB x":                 `byte 3 is '\r'`,
		"a.*":                          `byte 2 is '*'`,
		"a.>":                          `byte 2 is '>'`,
		"a.$JS":                        `byte 2 is '$'`,
		"métrics":                      "byte 1 is",
		"a\x00":                        `byte 1 is '\x00'`,
		long + "a":                     "256 bytes",
		strings.Repeat("a.", 16) + "a": "17 tokens",
		"ack":                          `type "ack" is reserved`,
		"subscribe.x":                  `type "subscribe" is reserved`,
		"going_away.web-1":             "reserved",
	} {
		if got, err := bus.ParseTopic(bad); err == nil {
			t.Errorf("ParseTopic(%q) = %q, want an error", bad, got)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("ParseTopic(%q): %q does not say %q", bad, err, says)
		}
	}
}

func TestParsePattern_TakesTheGrammarAndNothingElse(t *testing.T) {
	for _, good := range []string{">", "*", "*.*", "metrics.*", "containers.>", "*.web-1", "a.*.b.>", "metrics.web-1"} {
		if got, err := bus.ParsePattern(good); err != nil || string(got) != good {
			t.Errorf("ParsePattern(%q) = %q, %v", good, got, err)
		}
	}
	for bad, says := range map[string]string{
		"":         "is empty",
		">.a":      `">" at byte 0 is allowed only as the last token`,
		"a.>.b":    `">" at byte 2`,
		"a.b*":     `wildcard '*' at byte 3 must be a token of its own`,
		"a.>>":     `wildcard '>' at byte 2`,
		"a.**":     `wildcard '*' at byte 2`,
		"a. *":     `byte 2 is ' '`,
		"ack.*":    "reserved",
		"a.*.":     "empty token at byte 4",
		"a\n.>":    `byte 1 is '\n'`,
		"\xff\xfe": "byte 0",
	} {
		if got, err := bus.ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q) = %q, want an error", bad, got)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("ParsePattern(%q): %q does not say %q", bad, err, says)
		}
	}
}

func TestPattern_MatchesAndCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{">", "a", true}, {">", "a.b.c", true}, {">", "*.>", true}, {">", ">", true},
		{"*", "a", true}, {"*", "a.b", false}, {"*", "*", true}, {"*", ">", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"a.*", "a.>", false},
		{"a.>", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a", false}, {"a.>", "a.*", true}, {"a.>", "a.*.>", true}, {"a.>", "*.b", false},
		{"*.b", "a.b", true}, {"*.b", "a.*", false}, {"*.b", "*.b", true}, {"*.>", "a", false}, {"*.>", ">", false}, {"*.>", "a.>", true},
		{"a.b", "a.b", true}, {"a.b", "a.*", false}, {"a.b", "a.b.c", false}, {"a.b.c", "a.b", false}, {"a", "ab", false},
	} {
		p, q := pattern(t, c.p), pattern(t, c.q)
		if got := p.Covers(q); got != c.want {
			t.Errorf("%s covers %s = %v, want %v", p, q, got, c.want)
		}
		if q.IsTopic() && p.Matches(bus.Topic(q)) != c.want {
			t.Errorf("%s matches %s = %v, want %v", p, q, !c.want, c.want)
		}
	}
	p, topic := pattern(t, "containers.*.>"), topic(t, "containers.web-1.a.b")
	matched := true
	if n := testing.AllocsPerRun(100, func() { matched = p.Matches(topic) && matched }); n != 0 || !matched {
		t.Errorf("Matches is %v and allocates %v times", matched, n)
	}
}

func TestTopic_DeliveryAndTTL(t *testing.T) {
	for s, want := range map[string]struct {
		delivery bus.Delivery
		ttl      time.Duration
	}{
		"host.web-1":             {bus.Latest, 15 * time.Second},
		"metrics.web-1":          {bus.Latest, 5 * time.Minute},
		"containers.web-1":       {bus.Latest, 3 * time.Minute},
		"container-stats.web-1":  {bus.Latest, 5 * time.Minute},
		"container-events.web-1": {bus.Every, 0},
		"container-action.web-1": {bus.Every, 0},
		"metricsx.web-1":         {bus.Every, 0},
		"alerts":                 {bus.Every, 0},
	} {
		topic := topic(t, s)
		if topic.Delivery() != want.delivery || bus.TTL(topic) != want.ttl {
			t.Errorf("%s: %v, %v, want %v, %v", s, topic.Delivery(), bus.TTL(topic), want.delivery, want.ttl)
		}
	}
	if got := topic(t, "metrics.web-1").Type(); got != "metrics" {
		t.Errorf("type is %q", got)
	}
}

func TestHostToken_FollowsTheProtocol(t *testing.T) {
	for name, want := range map[string]string{
		"web-1": "web-1", "Web_1.Example.ORG": "web_1-example-org", "höst": "h-st", "a b": "a-b", "*>": "--", "日本": "--",
	} {
		if got := bus.HostToken(name); got != want {
			t.Errorf("HostToken(%q) = %q, want %q", name, got, want)
		}
	}
}

// The grammar of PROTOCOL §1 once more, in another language.
var (
	topicGrammar   = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,15}$`)
	patternGrammar = regexp.MustCompile(`^(>|([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*)){0,15}|([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*)){0,14}\.>)$`)
	reserved       = regexp.MustCompile(`^(connected|ack|error|heartbeat|gap|status|going_away|subscribe|unsubscribe|action|refresh)(\.|$)`)
)

func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"metrics.web-1", "a..b", "ack", "*", "a.>", "", "a\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := len(s) <= 255 && topicGrammar.MatchString(s) && !reserved.MatchString(s) && !strings.HasSuffix(s, "\n")
		if topic, err := bus.ParseTopic(s); (err == nil) != want {
			t.Errorf("ParseTopic(%q) = %q, %v", s, topic, err)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"metrics.*", "a..b", "ack.>", "*", "a.>", ">.a", "", "a\r\n"} {
		f.Add(s, "metrics.web-1")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		want := len(s) <= 255 && patternGrammar.MatchString(s) && !reserved.MatchString(s) && !strings.HasSuffix(s, "\n")
		p, err := bus.ParsePattern(s)
		if (err == nil) != want {
			t.Fatalf("ParsePattern(%q) = %q, %v", s, p, err)
		}
		if err != nil {
			return
		}
		if !p.Covers(p) {
			t.Errorf("%s does not cover itself", p)
		}
		if topic, err := bus.ParseTopic(s); (err == nil) != p.IsTopic() {
			t.Errorf("ParseTopic(%q) = %q, %v, but IsTopic is %v", s, topic, err, p.IsTopic())
		}
		if topic, err := bus.ParseTopic(other); err == nil {
			if got, want := p.Matches(topic), asRegexp(p).MatchString(other); got != want {
				t.Errorf("%s matches %s = %v, want %v", p, topic, got, want)
			}
		}
	})
}

func asRegexp(p bus.Pattern) *regexp.Regexp {
	tokens := strings.Split(string(p), ".")
	for i, token := range tokens {
		switch token {
		case "*":
			tokens[i] = `[^.]+`
		case ">":
			tokens[i] = `[^.]+(\.[^.]+)*`
		}
	}
	return regexp.MustCompile(`^` + strings.Join(tokens, `\.`) + `$`)
}
