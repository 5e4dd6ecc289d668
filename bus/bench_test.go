package bus_test

import (
	"testing"

	"tidings/bus"
)

// matches are patterns that a topic is held against, of each kind.
var matches = map[string]struct {
	pattern bus.Pattern
	matches bool
}{
	"topic":  {"metrics.web-1.eth0", true},
	"star":   {"metrics.*.eth0", true},
	"rest":   {"metrics.>", true},
	"others": {"metrics.web-1.eth1", false},
}

const matched = bus.Topic("metrics.web-1.eth0")

func TestPattern_MatchingAllocatesNothing(t *testing.T) {
	for name, c := range matches {
		if n := testing.AllocsPerRun(100, func() {
			if c.pattern.Matches(matched) != c.matches || c.pattern.Covers(bus.Pattern(matched)) != c.matches {
				t.Fatalf("%s: not %v", name, c.matches)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	for name, c := range matches {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.pattern.Matches(matched)
			}
		})
	}
}

func BenchmarkParsePattern(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.ParsePattern("container-events.web-1.*"); err != nil {
			b.Fatal(err)
		}
	}
}
