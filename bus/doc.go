// Package bus holds the words that publishers and edges share (topics, patterns, positions, messages), and the line to
// NATS that carries them. Subjects exist only here: a string that a client sent reaches NATS only as a Topic or a Pattern.
//
// # The way of a message
//
// A publisher hands JSON to an Outbox (outbox.go; its lanes, one per topic, are in lanes.go), or calls Publish
// (publish.go). It goes to the subject <prefix>.pub.<topic> (subject.go), which the stream takes (stream.go,
// streamconfig.go). The stream acknowledges it with its place, keeps it, and republishes it on <prefix>.live.<topic> with
// that place and the place of the message before it. A Listener (listen.go) has it there by plain core NATS, and Decode
// (message.go, json.go) makes a Message of it.
//
// What was missed is read back from the stream by Direct Get, many messages for one request (get.go): how things stand
// (Last and Ends, last.go; of one topic Newest, newest.go), a stretch to fill a chart (LastN, lastn.go), all that followed a place
// (After, after.go, stretch.go), which also judges whether it is complete; or whether a place is what it was (Stands, at.go).
// Who asks for very many topics is answered from the stream as a whole (filter.go). No consumer is made on the stream, by any of
// them.
//
// An action goes the other way: an edge asks by Act (act.go) on <prefix>.act.<host>, a publisher that serves them (serve.go) answers.
//
// When a message's time to live is over and nothing follows it on its topic, NATS puts a marker in its place: a Message
// that is Gone.
//
// # Epochs
//
// A place counts within one life of the stream. Its name, the epoch, is the moment of the stream's creation. The Conn
// watches for a stream that was deleted or made anew, and says so by OnState: positions of another epoch are void. A stream
// with storage "memory" on a cluster, with one replica, would lose its messages with its server and keep its name: do
// not do this.
//
// # Who we are
//
// A Login (login.go) is checked at the start, each fault by its key, and its files are read anew for each attempt to connect: what an
// operator replaces there needs no restart. A login that NATS refuses is said once and tried on. What each role has to be
// allowed is in configs/nats, which also says why roles are accounts: with API, JetStream's subjects are where an account has
// them, and with Inbox, answers arrive where others may be kept from.
//
// # Replicas
//
// Any replica of the stream may answer a Direct Get. A follower may be some milliseconds behind the leader, which
// republishes, and one that was cut off from the others knows nothing of what has happened since. All reads notice it by
// what the leader says is there, and read anew. Last cannot where more than 1,024 topics match: it may then return a value
// that is not the newest any more. (cmd/internal/e2e/chaos: TestNATS_RoutesDroppedLosesNothing.)
//
// # Invalid messages
//
// Any NATS client may publish. What has no valid topic, is not JSON, not UTF-8 or too large is counted and left out. Prev then
// points at the valid message before it in all that is read from the stream. Live, NATS sets Prev, to the invalid message;
// Decode returns its Seq and Prev along with the error, so that who follows a topic can step over it.
//
// # Actions and clocks
//
// An action must not begin when nobody reckons with it any more. So a request says how much time is left to begin, which counts
// from its arrival by the publisher's clock, and when it was sent by the edge's. If the two clocks say that it was on its way for
// longer than 5 s, that is taken off: it was held up somewhere, or the clocks disagree, which refuses actions rather than having
// them done late. An edge whose clock is ahead of the publisher's can't be told from one that is quick: what it asks for may begin
// late by as much as a request is held up on its way, which NATS' own connections allow for some seconds only.
//
// A request is sent while the line is up, or never: nothing buffers it here, the publisher is not told later, and it is not sent
// twice. An answer may outlast an outage: it is sent until the asker no longer waits.
//
// # Goroutines
//
//   - Each Conn has one that watches the stream: it creates it, or brings it up to date, and notices when it goes.
//   - Each Listener has one that tells of which patterns messages were dropped. The messages themselves go from NATS' reading
//     goroutine straight into the Listener's channel.
//   - An Outbox has none but its Run.
//   - ServeActions has those of NATS' micro services, and one for each action that is being done, at most 128.
//   - NATS' client has its own. OnState is called from one of them, or from the watching one, never from two at once.
//
// Close ends them all and waits. Locks are taken in this order: Listener.mu, Conn.ensure, Conn.telling, Conn.mu. A lock of the lanes, or of
// a serving, is taken alone.
//
// # Promises
//
//   - Only the grammar passes: TestParseTopic_TakesTheGrammarAndNothingElse, FuzzParseTopic, FuzzParsePattern.
//   - Seq, Prev and Time are the stream's own truth, live and read back, and cannot be forged: TestLive_NamesItsPredecessor,
//     TestReads_AgreeWithWhatWasLive, TestLive_PublishersCannotForgeAPlace; nor does a replica that was cut off hide a predecessor:
//     TestReads_FromAReplicaBehind_NameTheirPredecessors.
//   - Where the stream ends is told by a leader alone: TestReads_OfAStreamWithoutALeader_Fail; and that it ends before a position by one that
//     is in touch with the others: TestAfter_OfALeaderThatMayBeCutOff_IsNoAnswer, TestLeads_OnlyWhoHasHeardOfMostReplicas.
//   - Last misses no topic, also beyond the 1,024 that NATS answers at once: TestLast_ThreeThousandTopics.
//   - After never pretends: TestAfter_EvictedByTheTopicsLimitIsLost, TestAfter_ExpiredIsLost,
//     TestAfter_CutBeforeALossStillTellsIt, TestAfter_BeyondTheEnd; nor does what it read for one place tell others anything else
//     than a read of their own: TestReplay_FromALaterPlaceReadsAsIfAskedThere.
//   - What lapses is told: TestLive_MarkerIsGone.
//   - Nothing invalid gets through: TestDecode_SaysWhatIsInvalidAndCountsIt, FuzzDecode, TestReads_StepOverInvalidMessages.
//   - Decode allocates nothing: TestDecode_AllocatesNothing.
//   - An Outbox outlives an outage with each Every message once and in order, and the newest of each Latest topic:
//     TestOutbox_OutageKeepsEveryAndTheNewestOfLatest, TestOutbox_OutlivesTheStream, TestOutbox_OutlivesAFullDisk; what it drops is counted:
//     TestOutbox_FullDropsTheOldest, TestOutbox_GraceEnds, TestOutbox_WhatNobodyTakesHoldsUpNothing.
//   - A Conn starts before NATS does, and never gives up: TestConnect_BeforeNATSIsThere, TestReconnect_GoesOnAndKeepsTheEpoch.
//   - A server that is cut off from its cluster is left for another one: TestMarooned_ServerIsLeftForAnotherOne.
//   - Logins are read anew: TestLogin_PasswordIsReadAnew, TestLogin_NKeyIsReadAnew, TestLogin_CredentialsAreReadAnew; what is wrong
//     with them is said, and no secret: TestLogin_SaysWhichFileIsWrong, TestLogin_RefusedIsSaidOnceAndTriedOn.
//   - A line that shall be encrypted never falls back: TestTLS_NeverFallsBack, TestTLS_BothSidesAreChecked.
//   - What a full Listener lost is told, wholly: TestListener_OverflowIsToldUntilTheEnd.
//   - The stream is made by whoever comes first, and never damaged: TestStream_TwoCreateItAtTheSameTime,
//     TestStream_IsBroughtUpToDateAndKeepsWhatItHolds, TestStream_WhatCannotBeChangedIsSaid, TestStream_OperatorsIsOnlyChecked,
//     TestStream_DeletedIsMadeAnewAndSaid; nor does it hide that there is no room for it: TestStream_LargerThanTheStorage_IsSaid.
//   - An action is asked for once, or not at all: TestAct_DuringAnOutageIsNeverSentLater, TestAct_TimeoutSaysThatTheOutcomeIsUnknown;
//     what was held up is late: TestServe_WhatWasHeldUpOnItsWayIsLate; a host without a publisher is offline at once:
//     TestAct_HostOfflineIsSaidAtOnce; and an outage does not cost the answer: TestAct_OutageWhileItRunsDoesNotCostTheAnswer.
//   - Who serves actions is listed by NATS' tools, bounded, and stops in good order: TestServe_IsListedAmongNATSServices,
//     TestServe_MoreThanItMaySeeToAreRefused, TestServe_StopWaitsForWhatRuns, TestServe_StopAndCloseEndWhatDoesNotEnd.
//   - Close ends all: TestClose_EndsAll, and the leak check over all tests.
//
// # What it refuses
//
// It publishes no payload that it would not deliver. It has no buffer for a line that is down, other than an Outbox: an
// action that is done late is worse than one that fails. It knows no payloads, and no clients.
package bus
