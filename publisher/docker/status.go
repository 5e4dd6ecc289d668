package docker

import (
	"fmt"
	"time"

	"github.com/docker/go-units"
)

// status says where a container is in the words of docker ps, the same for each
// engine: "Up 2 hours (healthy)". It ages, so it is made when a list is.
func (c Course) status(now time.Time) string {
	since := func(ms int64) string { return units.HumanDuration(max(now.Sub(time.UnixMilli(ms)), 0)) }
	var code int
	if c.ExitCode != nil {
		code = *c.ExitCode
	}
	switch c.State {
	case stateCreated:
		return "Created"
	case stateDead:
		return "Dead"
	case stateRemoving:
		return "Removal In Progress"
	case stateRestarting:
		return fmt.Sprintf("Restarting (%d)%s", code, ago(c.FinishedAt, since))
	case stateExited:
		return fmt.Sprintf("Exited (%d)%s", code, ago(c.FinishedAt, since))
	}
	text := "Up"
	if c.StartedAt > 0 {
		text += " " + since(c.StartedAt)
	}
	switch {
	case c.State == statePaused:
		text += " (Paused)"
	case c.Health == healthStarting:
		text += " (health: starting)"
	case c.Health != healthNone:
		text += " (" + c.Health + ")"
	}
	return text
}

func ago(ms int64, since func(int64) string) string {
	if ms == 0 {
		return ""
	}
	return " " + since(ms) + " ago"
}
