package bus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What is asked for covers what was meant, and nothing is asked for twice.
func TestWidest_CoversAllWithNothingToSpare(t *testing.T) {
	tokens := []string{"a", "b", "*", ">"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var patterns []Pattern
		for range random.IntN(8) {
			p := tokens[random.IntN(4)]
			for p[len(p)-1] != '>' && random.IntN(3) > 0 {
				p += "." + tokens[random.IntN(4)]
			}
			patterns = append(patterns, Pattern(p))
		}
		got := widest(patterns)
		for _, p := range patterns {
			if !slices.ContainsFunc(got, func(q Pattern) bool { return q.Covers(p) }) {
				t.Fatalf("of %q %q are left, which do not cover %q", patterns, got, p)
			}
		}
		for i, p := range got {
			if !slices.Contains(patterns, p) {
				t.Fatalf("of %q %q are left", patterns, got)
			}
			for j, q := range got {
				if i != j && q.Covers(p) {
					t.Fatalf("of %q %q are left, though %q covers %q", patterns, got, q, p)
				}
			}
		}
	}
}

// Ten times as many topics take about ten times as long, not a hundred times: an edge asks for all that it follows, again and again.
func TestWidest_CostsWhatItIsAskedFor(t *testing.T) {
	took := func(n int) time.Duration {
		topics := []Pattern{"metrics.*", "containers.>"}
		for i := range n {
			topics = append(topics, Pattern(fmt.Sprintf("orders.client-%d", i)))
		}
		best := time.Hour
		for range 5 {
			began := time.Now()
			if got := widest(topics); len(got) != n+2 {
				t.Fatalf("%d of %d are left", len(got), n+2)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	few, many := took(2_000), took(20_000)
	t.Logf("2,000 in %v, 20,000 in %v", few, many)
	if many > 40*few {
		t.Errorf("2,000 topics took %v, 20,000 %v", few, many)
	}
}
