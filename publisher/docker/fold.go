package docker

// after is the record after an event: before is the one before it, nil if none
// is known, and now is what the engine says by now, nil if it didn't answer.
//
// The engine is asked after the event, and by then more may have happened: a
// container that started may have exited. So what an event changes follows from
// the event and the record before it, wherever the engine is ahead; the rest is
// as the engine says.
func (r recordReader) after(before *Container, e event, now *Container, runtime string) Container {
	next := r.fold(before, e, runtime)
	switch {
	case now == nil || e.name == eventDestroy:
		return next
	case before == nil && e.moves() == "":
		next.Course = now.Course // nothing better is known
	}
	course := next.Course
	if e.name == eventStart && now.Health != healthNone {
		course.Health = healthStarting // it has a health check, which no event tells
	}
	name := next.Name
	next = *now
	next.Name = name
	if !next.Course.follows(course, e) {
		next.Course = course
	}
	return next
}

// fold is the record before with the event alone applied.
func (r recordReader) fold(before *Container, e event, runtime string) Container {
	var c Container
	if before != nil {
		c = *before
	} else {
		c = Container{ID: e.id, Image: e.attributes["image"], Runtime: runtime, Course: Course{State: stateRunning, Health: healthNone}}
		r.label(&c, e.attributes)
	}
	if name := trimName(e.attributes["name"]); name != "" {
		c.Name = name
	}
	if state := e.moves(); state != "" {
		c.State = state
	}
	at := e.at.UnixMilli()
	switch e.name {
	case eventCreate:
		c.CreatedAt = at
	case eventStart:
		c.StartedAt, c.ExitCode = at, nil
		if c.Health != healthNone {
			c.Health = healthStarting
		}
	case eventDie:
		c.FinishedAt, c.ExitCode = at, e.exitCode
		c.Ports = nil
	case eventHealthStatus:
		if e.health != "" {
			c.Health = e.health
		}
	case eventDestroy:
		if before == nil {
			c.State = stateRemoving
		}
	}
	return c
}

// moves is the state that the event brings; empty if it brings none. Restart is
// none: Docker says it when all has happened, Podman before anything has.
func (e event) moves() string {
	switch e.name {
	case eventCreate:
		return stateCreated
	case eventStart, eventUnpause:
		return stateRunning
	case eventPause:
		return statePaused
	case eventDie:
		return stateExited
	}
	return ""
}

// follows says whether the engine's answer is from between the event and the
// next one, given the course that must follow from the event.
func (c Course) follows(course Course, e event) bool {
	at := e.at.UnixMilli()
	if c.StartedAt > at || c.FinishedAt > at {
		return false
	}
	if e.name == eventDie && (c.State == stateRestarting || c.State == stateDead) {
		return true // what comes of an exit is the restart policy's matter
	}
	return c.State == course.State && (e.name != eventHealthStatus || c.Health == course.Health)
}
