package docker

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
)

func happening(nano int64, id string, action events.Action) events.Message {
	return events.Message{Type: events.ContainerEventType, Action: action, TimeNano: nano, Actor: events.Actor{ID: id}}
}

const second = int64(time.Second)

func TestPosition_BeginsWhenTheEngineWasFound(t *testing.T) {
	p := newPosition(time.Unix(100, 7))
	if p.since() != "100.000000007" {
		t.Error(p.since())
	}
	if fresh, _ := p.take(happening(100*second, "1", "start")); fresh {
		t.Error("what was before is no news")
	}
	if fresh, _ := p.take(happening(100*second+7, "1", "start")); !fresh {
		t.Error("what was right then is")
	}
	if p.since() != "100.000000007" {
		t.Errorf("it never goes before its beginning: %s", p.since())
	}
	p.take(happening(105*second, "1", "die"))
	if p.since() != "104.000000000" {
		t.Errorf("it begins a little before the last event: %s", p.since())
	}
}

func TestPosition_TellsEventsOfOneMomentApart(t *testing.T) {
	p := newPosition(time.Unix(0, 0))
	for _, m := range []events.Message{
		happening(5, "1", "kill"), happening(5, "1", "die"), happening(5, "2", "die"), happening(6, "1", "die"), happening(4, "1", "die"),
	} {
		if fresh, _ := p.take(m); !fresh {
			t.Errorf("%+v was taken for another", m)
		}
		if fresh, _ := p.take(m); fresh {
			t.Errorf("%+v was taken twice", m)
		}
	}
}

func TestPosition_ABreakIsWholeIfTheLastEventComesAgain(t *testing.T) {
	p := newPosition(time.Unix(0, 0))
	p.broke()
	if _, outcome := p.take(happening(1*second, "1", "start")); outcome != "" {
		t.Errorf("nothing had been seen: %s", outcome)
	}
	p.take(happening(2*second, "1", "kill"))
	p.take(happening(3*second, "1", "die"))
	for _, c := range []struct {
		name    string
		replay  []events.Message
		outcome string
		fresh   int
	}{
		{"whole", []events.Message{happening(2*second, "1", "kill"), happening(3*second, "1", "die"), happening(4*second, "1", "start")}, breakResumed, 1},
		{"nothing has happened", []events.Message{happening(3*second, "1", "die"), happening(4*second, "1", "start")}, breakResumed, 0},
		{"too long", []events.Message{happening(9*second, "1", "kill")}, breakLost, 1},
		{"too long again", []events.Message{happening(19*second, "2", "kill"), happening(20*second, "2", "die")}, breakLost, 2},
	} {
		p.broke()
		var outcomes []string
		fresh := 0
		for _, m := range c.replay {
			isFresh, outcome := p.take(m)
			if isFresh {
				fresh++
			}
			if outcome != "" {
				outcomes = append(outcomes, outcome)
			}
		}
		if len(outcomes) != 1 || outcomes[0] != c.outcome || fresh != c.fresh {
			t.Errorf("%s: %v, %d fresh", c.name, outcomes, fresh)
		}
	}
}

func TestPosition_RemembersABoundedNumber(t *testing.T) {
	p := newPosition(time.Unix(0, 0))
	for i := range int64(3 * remembered) {
		p.take(happening(i+1, "1", "kill"))
	}
	if len(p.seen) != remembered {
		t.Errorf("remembers %d", len(p.seen))
	}
	if fresh, _ := p.take(happening(3*remembered, "1", "kill")); fresh {
		t.Error("forgot the last one")
	}
}
