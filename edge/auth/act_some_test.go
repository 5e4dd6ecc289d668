package auth

import (
	"testing"

	"tidings/bus"
)

// MayActOnSome is what MayAct says of the container that suits best.
func TestMayActOnSome_AgreesWithMayAct(t *testing.T) {
	hosts, containers, verbs := []string{"a", "b", "*"}, []string{"x", "y", "*"}, []string{"stop", "kill", "*"}
	patterns := []ActPattern{">", "a.>", "*.>", "a.x.>", "*.x.>", "a.*.>"}
	for _, h := range hosts {
		for _, c := range containers {
			for _, v := range verbs {
				patterns = append(patterns, ActPattern(h+"."+c+"."+v))
			}
		}
	}
	for _, p := range patterns {
		s := &Session{Act: []ActPattern{"z.z.start", p}}
		for _, h := range hosts[:2] {
			for _, v := range verbs[:2] {
				want := s.MayAct(h, "x", bus.Verb(v)) || s.MayAct(h, "y", bus.Verb(v)) || s.MayAct(h, "other", bus.Verb(v))
				if got := s.MayActOnSome(h, bus.Verb(v)); got != want {
					t.Errorf("%s: %s on some container of %s is %v, want %v", p, v, h, got, want)
				}
			}
		}
	}
}
