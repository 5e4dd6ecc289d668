// Package docker follows the containers of one engine, Docker's or Podman's, by
// Docker's API: it reads, parses and emits
//
//   - containers: the whole list, soon after each change and once a minute;
//   - container-events: what happens to each container, with its record then;
//   - container-stats: what each running container uses, at each beat.
//
// # The way of an event
//
// watch.go looks for an engine (engine.go) at the places in socket.go, for ever:
// that there is none is no error. While it has one, session.go follows it.
// stream.go reads the engine's events from where position.go says that this
// source stands, and asks for the container of each at once, without waiting for
// the answer. The session takes the events one by one: position.go sorts out
// those that were seen before a reconnect, event.go those that are no news, and
// record.go reads the engine's answer. The answer may be ahead of the event, or
// missing: the engine tells nothing of a container while it starts. So fold.go
// makes the record after the event from the one before it (roster.go) and the
// event, and takes from the answer what fits. The event goes out at once; the
// list is made from the roster, without asking the engine, when gather has
// passed.
//
// # The way of a beat
//
// The session keeps a tap (tap.go) running for each container that is up: a
// stream of samples, one a second. Read (stats.go) takes the newest of each
// (sample.go), and meter.go makes rates of two of them, by the engine's clock.
//
// Streams or questions is a matter of cost, measured with Docker 20.10 and 60
// containers, CPU time for one sample of each:
//
//	                          this process  dockerd  containerd and shims  takes
//	streams                         6.6 ms    40 ms                130 ms  nothing: the samples are there
//	one-shot, all at once            15 ms    46 ms                148 ms  1.1 s
//	one-shot, 16 at once             18 ms    54 ms                153 ms  4.1 s
//
// An engine like that makes statistics once a second for all who wait, so that a
// question takes up to a second: asked one after the other, 60 containers took a
// minute. Streams are no good where the interval is several seconds, since the
// engine still works each second, nor with Podman, whose streams have a sample
// in five seconds and whose answers take milliseconds: there all containers are
// asked, 64 at once, at each beat.
//
// # Actions
//
// act.go finds a container by its whole name or 12 or more digits of its id, and
// tells the engine to start, stop, restart, pause, unpause, kill or remove it. A stop
// is given the container's own grace. Only what has ended is removed, and no volumes
// with it. Who may ask for what is the publisher's to judge.
//
// # Goroutines, and what each owns
//
//   - The runner's watch goroutine runs Watch and owns the session: roster,
//     position, taps, the list that is due. It never waits for one container
//     longer than promptness, except for a whole list.
//   - The stream's goroutine reads events into a channel, since Docker drops
//     those that nobody takes, and starts one for each question that it asks.
//   - A tap's goroutine owns its connection and leaves the newest sample in an
//     atomic pointer.
//   - The runner's beat goroutine runs Read and owns the meters. It sees the
//     session through Source.view, which is replaced and never changed.
//
// There are no locks. The session ends everything that it has started, and waits
// for it, before it returns.
//
// # Promises
//
//   - Events come in order, each with the record of its time, even of a container
//     that has gone again: TestEvents_TellAContainersLifeInOrder,
//     TestEvents_OfOneThatExitsAtOnceHaveRecordsOfTheirTime, TestFold_TheRecordIsOfTheEventsTime
//   - Each event comes once over reconnects; if the engine has forgotten some,
//     that is said, and the list holds: TestBreak_EachEventArrivesOnceOverReconnects,
//     TestBreak_TooLongIsSaidAndTheListHolds
//   - The list follows a change within 200 ms, and changes at once make one list
//     of which the last is right: TestList_FollowsAChangeWithin200ms,
//     TestList_ChangesAtOnceMakeFewListsAndTheLastOneIsRight
//   - Statistics of 60 containers are had within a second:
//     TestStats_OfSixtyContainersWithinASecond
//   - A counter that is reset makes no spike: TestStats_RestartMakesNoSpike,
//     TestMeter_RatesAreBetweenTwoSamplesByTheEnginesClock
//   - No engine is no error, and one that comes, or comes back, is noticed:
//     TestEngine_NoneIsNoErrorAndOneThatComesLaterIsFound, TestEngine_ThatWasKilledAndComesBackIsNoticed
//   - Podman is recognised, whatever its socket: TestRuntime_PodmanIsRecognised,
//     TestSample_OfEachEngine, TestRecord_OfPodmansAnswer
//   - Each verb does what it says, or says why not and nothing internal; an engine
//     that goes away leaves the outcome unknown: TestAct_EachVerbOnARealEngine,
//     TestAct_SlowStopHasItsWholeGrace, TestAct_WhatTheEngineCannotDoSaysNothingInternal,
//     TestAct_EngineThatGoesAwayLeavesTheOutcomeUnknown
//   - No container is mistaken for another: TestFind_ByNameAndByIDAndNotByLess
//   - Labels are published only if they are on the allow list, and containers of
//     Tidings itself are marked as protected: TestLabels_OnlyAllowedOnes,
//     TestProtected_OwnContainersAndThoseLabelledSo
//
// # What it refuses to do
//
// It changes nothing on the engine but what an action asks for. It follows one engine, the first that
// answers, not several. It invents no events for what an engine did not tell:
// after a loss the list is what there is. It publishes no environment, command
// line, mounts or health check output, which may hold secrets. It says nothing
// of disk traffic where the engine doesn't count it, rather than 0.
package docker
