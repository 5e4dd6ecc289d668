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
//     crashed, or be alive. Wait. If it lapses, the name is free. If it is followed by
//     another, its sender is alive, and Run returns ErrHostTaken. Sources start only
//     then, so nothing is read or published meanwhile.
//   - Of several that start at once, NATS takes the first one's message and refuses
//     the others', who find it there, and stop.
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
//   - One sends the outbox, from when the claim holds until the sources have ended.
//
// On the end of the context sources end first, then what they emitted is published,
// then the host says goodbye, all within Config.Grace. A source that does not end is
// left behind, which is logged, and what it emits later is dropped.
//
// There is one lock, claim.mu, and one per emitter for its log; neither is held
// while anything waits.
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
//     TestClaim_OfACrashedPublisherIsTakenOverWhenItLapses.
//   - Trouble with NATS is not mistaken for another publisher:
//     TestClaim_LosingNATSIsNoOtherPublisher,
//     TestClaim_StreamMadeAnewIsNoOtherPublisher, TestClaim_LostAckIsNoOtherPublisher.
//   - A stop publishes what is due and announces that the host is gone:
//     TestStop_PublishesWhatIsDue, TestStop_SaysThatTheHostIsGone,
//     TestStop_EndsWithinTheGraceWhateverASourceDoes.
//
// # What it refuses to do
//
// It never logs a payload, gives no label a value that a container chooses, and
// can't catch a panic in a goroutine that a source started itself.
package publisher
