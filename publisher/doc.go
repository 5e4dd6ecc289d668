// Package publisher runs sources on a beat and publishes what they emit, as one
// host. A source is one origin with one outside dependency: publisher/host reads
// the machine, publisher/docker its containers. What the payloads mean is told in
// PAYLOADS.md beside this file.
//
// # The way of one reading
//
// worker.go calls the source's Read on its beat, or the source's Watch has news →
// emitter (publisher.go) makes the topic of the reading's type and the host's
// token, and marshals the payload at once (marshal.go) → bus.Outbox, which never
// blocks, sends with a bounded window and keeps what NATS can't take for now: the
// newest per state, all events up to a limit. A reading of type host takes another
// way: it renews the claim (claim.go).
//
// # The way of an action
//
// Unless Config.Actions is set nobody answers. Else, once the claim holds,
// bus.ServeActions calls actor.handle (actor.go) for each action, on a goroutine of
// its own. The token is verified here too, so an edge that was taken over can do no
// more than the tokens that it sees. memory.go has what came of a request that came
// before: it is not done again. Then come, each with its refusal: the verb, a slot
// of those that run at once, the container (Engine.Find), the grant, by the name of
// the container that was found, its protection, and that nothing else runs on it.
// The intent is written to the audit file (ledger.go), and synced, and after a last
// look at the deadline the engine does it.
//
// Whoever asked waits for their own timeout, or for the container's stop grace and
// 15 s, which the publisher tells the edge. The engine is waited for longer, up to
// the grace and a minute, and meanwhile nothing else is done on the container; the
// grace itself is never cut short. How it ended goes to the file, synced, to
// container-action.<host>, and back to the edge. An intent without an end, after a
// crash, is reported by the next publisher as timeout: nobody knows its outcome.
//
// The audit file is never cut or removed. Rename it to rotate it, best while nothing
// runs, for intents are looked for in the newest file alone. If it can't be written
// no action is done, and at the start there is no publisher at all: New opens it.
//
// # One publisher per host
//
// Two publishers under one name would be one host that jumps between two. So a
// publisher claims its host's name before it publishes anything, and no other
// subject, lock or key is needed for it: the claim is to have sent the last message
// of host.<host>. Each is published on the condition that the one before is the
// publisher's own, names the publisher in a header, and lapses 15 s later unless it
// is renewed, which the host source does every 5 s.
//
//   - At the start, a host message of another publisher is retained: it may have
//     crashed, or be alive. Wait. If it lapses, the name is free. If there is one from
//     behind the end that the stream had when the wait began, its sender is alive, and
//     Run returns ErrHostTaken. Sources start only then, so nothing is read or
//     published meanwhile.
//   - Of several that start at once, NATS takes the first one's message and refuses
//     the others', who find it there, and stop. One that NATS refuses for a message
//     from before its wait, which a replica that lags had hidden from it, waits again.
//   - NATS refuses a later message: somebody else's is there → ErrHostTaken. Our own is
//     there → its ack was lost, go on from it. None is there → NATS was away until the
//     claim lapsed, or the stream was made anew: claim again.
//   - A publisher that stops leaves a marker, so that everybody sees at once that the
//     host is gone, and the next publisher need not wait.
//
// A publisher none of whose sources describes the host has nothing to claim with.
// It says so, and publishes.
//
// # Goroutines
//
// Run waits for all that it started:
//   - claim.run owns the claim; what others want of it goes through a mailbox of one.
//   - One per source beats it, and one more watches if it is a Watcher. They own the
//     source, and its worker's fields.
//   - One sends the outbox, from when the claim holds until the sources and the
//     actions have ended.
//   - One has actions answered, and stops that. Each action has one, which owns its
//     job, and one more for the engine's call.
//
// On the end of the context sources end first, and actions that run have three
// quarters of the grace; those that are cut off have an unknown outcome. Then what they emitted is published,
// then the host says goodbye, all within Config.Grace. A source that does not end is
// left behind, which is logged, and what it emits later is dropped.
//
// There is one lock, claim.mu, and one per emitter for its log; neither is held
// while anything waits. Of actions there are actor.mu, memory.mu and ledger.mu, each
// taken alone; ledger.mu is held while the disk writes.
//
// # Promises
//
//   - Beats keep to a grid without drift, and a slow source misses some rather than
//     piling them up: TestBeats_AlignedWithoutDrift,
//     TestBeats_SlowSourceMissesThemRatherThanPilingUp.
//   - A source that fails, panics, hangs or emits nonsense harms no other:
//     TestPublisher_SourceThatPanicsHarmsNoOther,
//     TestPublisher_SourceThatHangsHarmsNoOther, TestBeats_PanicIsAnErrorOfThatSource.
//   - A failing source is tried again between two beats, with full jitter, and a
//     broken watch is started again: TestBeats_FailureIsRetriedBetweenTwoBeats,
//     TestWatch_IsStartedAgainWithGrowingPauses.
//   - Of two publishers of one host the second says so and stops:
//     TestClaim_SecondPublisherSaysSoAndStops, TestClaim_OfManyAtOnceOneIsLeft,
//     TestClaim_OverwrittenStopsTheOneThatHeldIt.
//   - One that crashed is replaced once its claim has lapsed:
//     TestClaim_OfACrashedPublisherIsTakenOverWhenItLapses, whatever replicas tell of it
//     meanwhile: TestClaim_OfACrashedPublisherSeenLateIsNoOtherPublisher.
//   - Trouble with NATS is not mistaken for another publisher:
//     TestClaim_LosingNATSIsNoOtherPublisher,
//     TestClaim_StreamMadeAnewIsNoOtherPublisher, TestClaim_LostAckIsNoOtherPublisher.
//   - An action is done once, in time, one at a time on a container, and by a
//     token that is verified here: TestAction_SameKeyIsDoneOnce,
//     TestAction_DeadlinePassedInTheQueueIsNotBegun,
//     TestAction_TimeoutKeepsTheContainerUntilTheEngineIsDone,
//     TestAction_EachRefusalHasItsCodeAndIsAudited.
//   - Each is on record before it begins and after it has ended, also over a crash:
//     TestAction_IntentIsOnTheDiskBeforeItBegins,
//     TestAction_WithoutAnAuditFileNothingIsDone,
//     TestAudit_WhatACrashLeftOpenIsReportedAndNotDoneAgain.
//   - A stop waits for actions within the grace: TestStop_WaitsForActionsWithinTheGrace,
//     TestStop_AfterTheGraceTheOutcomeIsUnknown.
//   - A stop publishes what is due and announces that the host is gone:
//     TestStop_PublishesWhatIsDue, TestStop_SaysThatTheHostIsGone,
//     TestStop_EndsWithinTheGraceWhateverASourceDoes.
//
// # What it refuses to do
//
// It does no action that nobody switched on, and none again by itself. Requests
// beyond the 128 that bus takes at once are refused there, counted and not audited.
// It never logs a payload or a token, gives no label a value that a container chooses, and
// can't catch a panic in a goroutine that a source started itself.
package publisher
