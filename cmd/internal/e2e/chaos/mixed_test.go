//go:build linux

package chaos

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// Faults of all kinds overlap as the seed has it, and each is mended. Two servers, or three in a row, and one edge are always left.
// In the short form the seed is always the same, so that what fails is what was changed; CHAOS=full goes looking.
func TestMixedFaults_LoseNothing(t *testing.T) {
	decks, length := 1, 30*time.Second
	if full() {
		decks, length = 4, 3*time.Minute
	} else if os.Getenv(seedVariable) == "" {
		t.Setenv(seedVariable, "1")
	}
	c := newCluster(t, plan{})
	faults := draw(c.random, decks, length)
	for _, f := range faults {
		t.Logf("planned: %v", f)
	}
	c.suffer(faults)
	serversWhole(c, nil)
	edgesWhole(c, nil)
	c.load.goOn(500)
	_, r := c.verdict(Rules{})
	c.within(r, 90*time.Second) // one after the other may have to find out that its server is no good
	if r.Offline == 0 || r.Resumes == 0 {
		t.Error("nobody noticed")
	}
}

// draw chooses faults, of each kind one for a deck, that begin within length or as soon after it as is sane.
func draw(random *rand.Rand, decks int, length time.Duration) (all []fault) {
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	for range decks {
		for _, i := range random.Perm(len(faultKinds)) {
			k := faultKinds[i]
			f := fault{kind: k, target: random.IntN(k.part.of)}
			lasts := k.least + upTo(k.most-k.least)
			const step = 500 * time.Millisecond
			for f.from = time.Second + upTo(length); ; f.from += step {
				if f.to = f.from + lasts; f.sane(all) {
					break
				}
			}
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b fault) int { return cmp.Compare(a.from, b.from) })
	return all
}

// sane tells whether a fault leaves enough of its part beside the others.
func (f fault) sane(others []fault) bool {
	meanwhile := 0
	for _, o := range others {
		if o.kind.part != f.kind.part || o.to+o.kind.part.rest <= f.from || f.to+f.kind.part.rest <= o.from {
			continue
		}
		if meanwhile++; o.target == f.target {
			return false
		}
	}
	return meanwhile < f.kind.part.atOnce
}

// suffer strikes and mends at the times of the plan. What takes longer to be whole than planned delays the rest.
func (c *cluster) suffer(faults []fault) {
	c.t.Helper()
	type moment struct {
		at    time.Duration
		fault int
	}
	var moments []moment
	for i, f := range faults {
		moments = append(moments, moment{f.from, i}, moment{f.to, i})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	mend := map[int]func(){}
	for _, m := range moments {
		<-time.After(time.Until(began.Add(m.at)))
		f := faults[m.fault]
		if mended := mend[m.fault]; mended != nil {
			mended()
			delete(mend, m.fault)
			c.t.Logf("at %5.1f s no more: %s", time.Since(began).Seconds(), f.what())
			continue
		}
		var broken []int
		for i := range mend {
			if faults[i].kind.part == f.kind.part {
				broken = append(broken, faults[i].target)
			}
		}
		f.kind.part.whole(c, broken)
		mend[m.fault] = f.kind.strike(c, f.target)
		c.t.Logf("at %5.1f s: %s", time.Since(began).Seconds(), f.what())
	}
}

// Whatever the seed, enough is left of each part, every kind has its turn, and faults of different parts overlap.
func TestDraw_IsSaneWhateverTheSeed(t *testing.T) {
	for seed := range uint64(500) {
		faults := draw(rand.New(rand.NewPCG(seed, 0)), 2, time.Minute)
		again := draw(rand.New(rand.NewPCG(seed, 0)), 2, time.Minute)
		if !slices.Equal(faults, again) {
			t.Fatalf("seed %d: %v and %v", seed, faults, again)
		}
		kinds, overlap := map[*faultKind]int{}, false
		for i, f := range faults {
			kinds[f.kind]++
			if lasts := f.to - f.from; lasts < f.kind.least || lasts > f.kind.most || f.target < 0 || f.target >= f.kind.part.of {
				t.Errorf("seed %d: %v", seed, f)
			}
			broken := 0 // of its part, when it begins, also those that are mended and not themselves yet
			for _, o := range faults[:i] {
				switch begun := f.from < o.to+o.kind.part.rest; {
				case begun && o.kind.part == f.kind.part:
					if broken++; o.target == f.target {
						t.Errorf("seed %d: %v, and already %v", seed, f, o)
					}
				case f.from < o.to:
					overlap = true
				}
			}
			if broken >= f.kind.part.atOnce {
				t.Errorf("seed %d: %v, and %d already", seed, f, broken)
			}
		}
		if !overlap {
			t.Errorf("seed %d: no faults overlap: %v", seed, faults)
		}
		for _, k := range faultKinds {
			if kinds[k] != 2 {
				t.Errorf("seed %d: %d times %s", seed, kinds[k], k.name)
			}
		}
	}
}
