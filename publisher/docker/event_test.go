package docker

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/moby/moby/api/types/events"
)

func TestEvent_OnlyTheClosedListIsNews(t *testing.T) {
	for _, c := range []struct {
		action, attribute string // of the engine
		want, health      string // "": no news
	}{
		{action: "create", want: "create"},
		{action: "start", want: "start"},
		{action: "die", want: "die"},
		{action: "died", want: "die"},
		{action: "stop", want: "stop"},
		{action: "kill", want: "kill"},
		{action: "pause", want: "pause"},
		{action: "unpause", want: "unpause"},
		{action: "rename", want: "rename"},
		{action: "restart", want: "restart"},
		{action: "oom", want: "oom"},
		{action: "update", want: "update"},
		{action: "destroy", want: "destroy"},
		{action: "remove", want: "destroy"},
		{action: "health_status: healthy", want: "health_status", health: "healthy"},
		{action: "health_status: unhealthy", want: "health_status", health: "unhealthy"},
		{action: "health_status: running", want: "health_status"},
		{action: "health_status", attribute: "unhealthy", want: "health_status", health: "unhealthy"},
		{action: "exec_create: /bin/sh -c true"},
		{action: "exec_start: /bin/sh -c true"},
		{action: "exec_die"},
		{action: "attach"},
		{action: "resize"},
		{action: "top"},
		{action: "archive-path"},
		{action: "init"},
		{action: "cleanup"},
		{action: ""},
	} {
		m := events.Message{Type: events.ContainerEventType, Action: events.Action(c.action), TimeNano: 1}
		m.Actor = events.Actor{ID: "1", Attributes: map[string]string{"health_status": c.attribute}}
		e, news := parseEvent(m)
		if news != (c.want != "") || e.name != c.want || e.health != c.health {
			t.Errorf("%q: got %q %q, %v", c.action, e.name, e.health, news)
		}
		if news && !slices.Contains(eventNames, e.name) {
			t.Errorf("%q is not on the list", e.name)
		}
	}
	if _, news := parseEvent(events.Message{Type: events.ImageEventType, Action: "create", Actor: events.Actor{ID: "1"}}); news {
		t.Error("an image's event is none of a container")
	}
}

func TestEvent_SignalIsANumber(t *testing.T) {
	for said, want := range map[string]int{"9": 9, "SIGTERM": 15, "SIGNONSENSE": 0, "": 0} {
		e, _ := parseEvent(events.Message{
			Type: events.ContainerEventType, Action: "kill", Actor: events.Actor{ID: "1", Attributes: map[string]string{"signal": said}},
		})
		if want == 0 && e.signal != nil || want != 0 && (e.signal == nil || *e.signal != want) {
			t.Errorf("%q: %v", said, e.signal)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"status":"die","id":"1","from":"web","Type":"container","Action":"die","Actor":{"ID":"1","Attributes":{"exitCode":"137","image":"web","name":"x"}},"scope":"local","time":1795384322,"timeNano":1795384322823936551}`))
	f.Add([]byte(`{"Type":"container","Action":"health_status: unhealthy","Actor":{"ID":"1"},"timeNano":-1}`))
	f.Add([]byte(`{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"1"}},"time":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m events.Message
		if json.Unmarshal(text, &m) != nil {
			return
		}
		at := newPosition(eventTime(m))
		fresh, _ := at.take(m)
		again, _ := at.take(m)
		if !fresh || again {
			t.Errorf("first %v, then %v", fresh, again)
		}
		e, news := parseEvent(m)
		if !news {
			return
		}
		record := recordReader{}.after(nil, e, nil, "docker")
		if record.ID != m.Actor.ID || !slices.Contains(eventNames, e.name) || parseState(record.State) != record.State || parseHealth(record.Health) != record.Health {
			t.Errorf("%+v became %+v", e, record)
		}
	})
}
