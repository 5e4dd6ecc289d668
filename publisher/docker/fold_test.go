package docker

import (
	"testing"
	"time"
)

func TestFold_TheRecordIsOfTheEventsTime(t *testing.T) {
	const then, at, later = 1000, 2000, 3000 // Unix milliseconds
	zero, three := 0, 3
	course := func(state, health string, started, finished int64, code *int) Course {
		return Course{State: state, Health: health, StartedAt: started, FinishedAt: finished, ExitCode: code}
	}
	for _, c := range []struct {
		name   string
		before *Course // nil: unknown
		event  event
		now    *Course // nil: no answer
		want   Course
	}{
		{
			"created, and not started yet",
			nil, event{name: "create"}, new(course("created", "none", 0, 0, nil)),
			course("created", "none", 0, 0, nil),
		}, {
			"created, but it runs by now",
			nil, event{name: "create"}, new(course("running", "starting", later, 0, nil)),
			course("created", "none", 0, 0, nil),
		}, {
			"started",
			new(course("created", "none", 0, 0, nil)), event{name: "start"}, new(course("running", "starting", at-1, 0, nil)),
			course("running", "starting", at-1, 0, nil),
		}, {
			"started, but it has exited by now",
			new(course("created", "none", 0, 0, nil)), event{name: "start"}, new(course("exited", "unhealthy", at-1, later, &three)),
			course("running", "starting", at, 0, nil),
		}, {
			"started, but it is in its next run by now",
			new(course("exited", "none", then, then, &three)), event{name: "start"}, new(course("running", "none", later, later, nil)),
			course("running", "none", at, then, nil),
		}, {
			"started, no answer",
			new(course("exited", "healthy", then, then, &three)), event{name: "start"}, nil,
			course("running", "starting", at, then, nil),
		}, {
			"died",
			new(course("running", "healthy", then, 0, nil)), event{name: "die", exitCode: &three}, new(course("exited", "healthy", then, at-1, &three)),
			course("exited", "healthy", then, at-1, &three),
		}, {
			"died, and its policy restarts it",
			new(course("running", "none", then, 0, nil)), event{name: "die", exitCode: &three}, new(course("restarting", "none", then, at-1, &three)),
			course("restarting", "none", then, at-1, &three),
		}, {
			"died, but it runs again by now",
			new(course("running", "none", then, 0, nil)), event{name: "die", exitCode: &zero}, new(course("running", "none", later, at-1, nil)),
			course("exited", "none", then, at, &zero),
		}, {
			"died, and is being removed by now",
			new(course("running", "none", then, 0, nil)), event{name: "die", exitCode: &zero}, new(course("removing", "none", then, at-1, &zero)),
			course("exited", "none", then, at, &zero),
		}, {
			"stopped, but it runs again by now",
			new(course("exited", "none", then, then, &zero)), event{name: "stop"}, new(course("running", "none", later, then, nil)),
			course("exited", "none", then, then, &zero),
		}, {
			"killed, and has died by now",
			new(course("running", "healthy", then, 0, nil)), event{name: "kill"}, new(course("exited", "healthy", then, later, &zero)),
			course("running", "healthy", then, 0, nil),
		}, {
			"unhealthy",
			new(course("running", "healthy", then, 0, nil)), event{name: "health_status", health: "unhealthy"}, new(course("running", "unhealthy", then, 0, nil)),
			course("running", "unhealthy", then, 0, nil),
		}, {
			"unhealthy, but healthy by now",
			new(course("running", "healthy", then, 0, nil)), event{name: "health_status", health: "unhealthy"}, new(course("running", "healthy", then, 0, nil)),
			course("running", "unhealthy", then, 0, nil),
		}, {
			"paused, but running by now",
			new(course("running", "none", then, 0, nil)), event{name: "pause"}, new(course("running", "none", then, 0, nil)),
			course("paused", "none", then, 0, nil),
		}, {
			"told of after a break, unknown before",
			nil, event{name: "oom"}, new(course("exited", "none", then, then, &three)),
			course("exited", "none", then, then, &three),
		}, {
			"destroyed",
			new(course("exited", "none", then, then, &three)), event{name: "destroy"}, nil,
			course("exited", "none", then, then, &three),
		}, {
			"destroyed, unknown before",
			nil, event{name: "destroy"}, nil,
			course("removing", "none", 0, 0, nil),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.event.id, c.event.at = "1", time.UnixMilli(at)
			c.event.attributes = map[string]string{"name": "new", "image": "web"}
			var before, now *Container
			if c.before != nil {
				before = &Container{ID: "1", Name: "old", Image: "web", Course: *c.before, Runtime: "docker"}
			}
			if c.now != nil {
				now = &Container{ID: "1", Name: "newest", Image: "web", Course: *c.now, MemoryLimit: 5, Runtime: "docker"}
			}
			got := recordReader{}.after(before, c.event, now, "docker")
			if tellCourse(got.Course) != tellCourse(c.want) {
				t.Errorf("got  %s\nwant %s", tellCourse(got.Course), tellCourse(c.want))
			}
			if got.ID != "1" || got.Name != "new" || got.Image != "web" || got.Runtime != "docker" {
				t.Errorf("got %+v", got)
			}
			if now != nil && got.MemoryLimit != 5 {
				t.Error("what the engine says besides is lost")
			}
		})
	}
}

func TestFold_AContainerThatIsGoneIsKnownByItsEvent(t *testing.T) {
	reader := recordReader{labels: allowList{"team"}}
	got := reader.after(nil, event{name: "start", id: "1", at: time.UnixMilli(5), attributes: map[string]string{
		"name": "web", "image": "web:2", "team": "blue", "secret": "hush", "com.docker.compose.project": "shop", "tidings.protected": "true",
	}}, nil, "docker")
	if got.Name != "web" || got.Image != "web:2" || got.Project != "shop" || !got.Protected || len(got.Labels) != 1 || got.Labels["team"] != "blue" {
		t.Errorf("got %+v", got)
	}
}

func TestRoster_KeepsWhatHasGoneForItsDestroyEvent(t *testing.T) {
	r := newRoster()
	r.replace([]Container{{ID: "1", Name: "b"}, {ID: "2", Name: "a"}})
	if l := r.list(time.Now()).Containers; len(l) != 2 || l[0].Name != "a" {
		t.Errorf("by name: %+v", l)
	}
	r.replace([]Container{{ID: "2", Name: "a"}})
	if c := r.get("1"); c == nil || c.Name != "b" {
		t.Errorf("the last record: %+v", c)
	}
	if l := r.list(time.Now()).Containers; len(l) != 1 {
		t.Errorf("still listed: %+v", l)
	}
	r.remove("1")
	if r.get("1") != nil {
		t.Error("still there after its destroy event")
	}
	r.replace(nil)
	r.replace(nil)
	if r.get("2") != nil {
		t.Error("kept for ever")
	}
	if l := r.list(time.Now()).Containers; l == nil {
		t.Error("no containers is an empty list, not null")
	}
}

func tellCourse(c Course) string {
	return tell(Event{Container: Container{Course: c}, ExitCode: c.ExitCode}) +
		" " + time.UnixMilli(c.StartedAt).UTC().Format("5.000") + " " + time.UnixMilli(c.FinishedAt).UTC().Format("5.000")
}
