package docker

import (
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
)

// Event is the payload of container-events.
type Event struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Event     string    `json:"event"` // one of eventNames
	At        int64     `json:"at"`    // Unix milliseconds, by the engine's clock
	ExitCode  *int      `json:"exitCode,omitempty"`
	Signal    *int      `json:"signal,omitempty"` // its number on the engine's system
	Container Container `json:"container"`        // the record after the event; of destroy, the last one
}

// The values of Event.Event: a closed list. Everything else that engines say
// of containers (exec_*, attach, resize, top, archive-path, …) is not news.
const (
	eventCreate       = "create"
	eventStart        = "start"
	eventDie          = "die"
	eventStop         = "stop"
	eventKill         = "kill"
	eventPause        = "pause"
	eventUnpause      = "unpause"
	eventRename       = "rename"
	eventRestart      = "restart"
	eventOOM          = "oom"
	eventUpdate       = "update"
	eventDestroy      = "destroy"
	eventHealthStatus = "health_status"
)

var eventNames = []string{
	eventCreate, eventStart, eventDie, eventStop, eventKill, eventPause, eventUnpause, eventRename, eventRestart, eventOOM,
	eventUpdate, eventDestroy, eventHealthStatus,
}

// event is one of an engine's events that is news.
type event struct {
	name     string // of the event
	id       string // of the container
	at       time.Time
	exitCode *int
	signal   *int
	health   string // of health_status, else empty

	// The container's name, its image, and all of its labels, as the engine has
	// them. Podman adds some entries of its own.
	attributes map[string]string
}

// parseEvent reads an engine's event; false if it is no news of a container.
func parseEvent(m events.Message) (event, bool) {
	if m.Type != events.ContainerEventType || m.Actor.ID == "" {
		return event{}, false
	}
	// "health_status: unhealthy" is Docker's way, an attribute is Podman's.
	action, detail, _ := strings.Cut(string(m.Action), ": ")
	e := event{id: m.Actor.ID, at: eventTime(m), attributes: m.Actor.Attributes}
	switch action {
	case eventCreate, eventStart, eventDie, eventStop, eventKill, eventPause, eventUnpause, eventRename, eventRestart, eventOOM,
		eventUpdate, eventDestroy:
		e.name = action
	case eventHealthStatus:
		e.name = action
		e.health = detail
		if e.health == "" {
			e.health = m.Actor.Attributes["health_status"]
		}
		if e.health = parseHealth(e.health); e.health == healthNone {
			e.health = "" // what newer engines say besides, such as running
		}
	case "died": // Podman's die, and its destroy
		e.name = eventDie
	case "remove":
		e.name = eventDestroy
	default:
		return event{}, false
	}
	if e.name == eventDie {
		e.exitCode = number(m.Actor.Attributes["exitCode"])
	}
	if signal, ok := m.Actor.Attributes["signal"]; ok && e.name == eventKill {
		if e.signal = number(signal); e.signal == nil {
			e.signal = signalNumber(signal)
		}
	}
	return e, true
}

// changedNetworks is the container that a network event is about: one that
// joined a network or left it.
func changedNetworks(m events.Message) (id string, ok bool) {
	if m.Type != events.NetworkEventType || m.Action != events.ActionConnect && m.Action != events.ActionDisconnect {
		return "", false
	}
	id = m.Actor.Attributes["container"]
	return id, id != ""
}

// eventTime is by the engine's clock. Very old engines have whole seconds only.
func eventTime(m events.Message) time.Time {
	if m.TimeNano > 0 {
		return time.Unix(0, m.TimeNano)
	}
	return time.Unix(m.Time, 0)
}

func number(text string) *int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return &n
}
