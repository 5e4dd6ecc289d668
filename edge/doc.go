// Package edge is a node of the cluster: it holds the clients' connections and relays to each what it subscribed to.
//
// # The way of a message
//
// NATS delivers a message on one channel of the hub. The hub (hub.go) looks whether its predecessor was seen (topic.go), builds the
// frame that all clients get (frame.go), and leaves it in the inbox of each loop that wants the topic (inbox.go). In its
// next turn (loop.go; gather.go says when) a loop marks every subscriber (turn.go: spread) and then writes to each marked connection once, all
// that it is due (turn.go: flush). Connections that are due the same share the bytes. A delivery takes no lock, no
// atomic operation and no allocation.
//
// # The way of a request
//
// A connection is accepted for one of the loops (accept.go), and let in or not by what all of them and its address have (door.go,
// account.go, rate.go); one that is not is told why (refusal.go). A readable socket is read into the loop's buffer. A new connection
// (conn.go) says first what it is (upgrade.go), from which page (origin.go) and, behind a proxy, for whom (proxies.go, proxyheader.go):
// a WebSocket, or anything else, which goes on to net/http (web.go, http.go, events.go). Frames are taken apart (read.go) and inflated
// (deflate.go), requests answered (request.go, subscribe.go), and not more often than a connection may ask (limit.go). A pattern that
// the loop does not hold yet is asked of the hub (feed.go), which subscribes to it at NATS and reads the last message of each of its
// topics (interest.go); the subscribe waits for that, and nothing else of its connection is looked at meanwhile.
//
// # Who may do what
//
// A request brings a token in one of the places that PROTOCOL §2 lists (token.go). It is verified beside the loops (verify.go), since that
// computes for a while and may have to wait for keys; meanwhile nothing else of the connection is looked at. What comes of it is
// the connection's session (session.go): who the client is, until when, and what it may do. A subscribe is held against it, and
// nothing that is delivered: what a client may not see it cannot have subscribed to. A refresh (refresh.go) puts a newer session in
// its place, and ends the subscriptions that this one does not cover. The connection ends when its token begins to be refused.
// A connect costs what its token's signature does (package auth), and on an idle edge some 60 µs more for the way to the desk and
// back, on a busy one about 15; the session of one with three grants takes 440 bytes (BenchmarkConnect, BenchmarkConnected).
//
// A client is told of that end in time, for which PROTOCOL has no word of its own. So it is a going_away, with the reason
// token_expiring: a client that knows nothing of tokens comes back with a new one while this connection goes on delivering,
// and one that refreshes may stay.
//
// An action (act.go) is passed on to the publisher of its host by a goroutine that waits for the answer. The edge looks at host,
// container and grant; the publisher verifies the token itself, for what an edge says counts for nothing there, and knows which
// container an id is. Nothing is tried twice: an answer that does not come leaves the outcome unknown. Publishers keep the record of
// what was asked for, so one that the edge refuses is passed on too, to be recorded and not done; but for those that make no sense,
// are too many of one user's, or come to an edge whose actions are off: that one keeps no token with which a publisher could be told.
//
// A cookie is a token that browsers send on behalf of any page. It counts only from pages of the same host or of a host that the
// operator named, never by "*"; and never without an Origin, but for a request over HTTP that the browser says comes from
// the host's own page (Sec-Fetch-Site).
//
// # Joining without a hole
//
// The hub subscribes first, reads the stream then, and passes on what had come live until then; all it grants is "from
// place P on you will miss nothing", with the newest values up to P. P comes to a loop through the same inbox as the
// messages do, hence in order. Since a loop keeps what is recent of each pattern (ring.go), most returning clients are
// served from memory; the others share reads of the stream with those that come back to places nearby (replay.go, reread.go).
// A place that this edge has not come to may be one of a stream that lost its end, so the stream's leader is asked (reach.go);
// what comes up to there is not sent again (ahead.go).
//
// A hole between NATS and the hub shows by a message's prev. The hub then holds back all that follows, reads what is
// missing from the stream, and goes on (repair.go). The same happens after NATS was away. Until a hole shows, other topics go on, so
// what fills it is late to those who were sent more (late.go). A last message that was lost is
// betrayed by no later one; the hub asks the stream for it now and then (audit.go). It also asks whether the places that it
// passed on are what they were: a power cut may cost a stream its end (trail.go).
//
// However much there is to pass on, the hub does not run far ahead of the loops: it stops taking messages when too much of what it
// passed on still lies in their inboxes, and goes on when they have come nearer; a repair reads its next part when they have taken
// the one before. Of what NATS brings meanwhile it holds so many bytes, and reads the rest from the stream later (abreast.go).
//
// # Slow clients
//
// What a full socket does not take is not queued. The connection lags (lag.go): it remembers the rest of the frame that
// was cut, a place for each subscription, and which latest topics have a newer value, and is sent from those when it can
// be, and from the stream where memory no longer reaches back (refill.go). interval_ms (pace.go) works the same way.
//
// A client that is gone without a word is found by its silence: it answers no heartbeats (heartbeat.go).
//
// # Leaving
//
// An edge that is to stop says first that it is not ready, and goes on until load balancers have noticed. Then it asks its
// clients, one after the other, to connect elsewhere, and serves each until it has, or its own deadline has passed. A
// connection that has grown old is asked the same, so that edges that joined later fill up (drain.go).
//
// # Goroutines
//
//   - One for each loop. It owns its connections, feeds, views, timers (wheel.go) and buffers.
//   - One for the hub. It owns topics, interests and everything about NATS. Workers do what takes time for it, and
//     come back through its mail.
//   - Up to 16 verify tokens, while there are some to verify, and up to 1,024 wait for the outcome of actions.
//   - One accepts connections, one serves HTTP. Each connection that is not a plain TCP socket, such as one of TLS (tls.go),
//     costs two (package poll). With TLS one more looks at the certificate's files (keyring.go).
//
// Loops and hub talk by inbox and mail only. Neither ever blocks who puts something there, so a loop waits for nobody, and the hub
// for nothing but the loops' progress: while it does it takes no messages, and goes on with its mail, the state of the line and all
// else. What is verified and what was done comes back through the inbox too, with the connection's generation, since it may be gone
// by then. The few locks, of inbox, mail, desk, accounts and streams, are held for moments and never nested.
//
// # Promises
//
//   - However long a backlog is, an edge holds a bounded part of it (TestBacklog_OfALongOutageFitsIntoMemory in cmd/internal/e2e).
//     Its hub waits for loops that are far behind, loses nothing by it, and serves all but messages (TestHub_WaitsForLoopsThatAreFarBehind,
//     TestHub_ThatWaits_*).
//   - Attackers from outside get no further than their own connection, and what each costs is bounded (hardening_test.go).
//   - A message that matches several patterns of a connection arrives once (TestOverlappingPatterns_DeliverOnce).
//   - Per topic messages come in rising seq, `every` topics without a hole (TestPublishedMessages_ArriveOnceInOrder).
//   - What a subscribe brings joins what is live without a hole (TestSubscribe_JoinsWithoutHole).
//   - A slow client gets the newest value of latest topics and all of `every` topics (TestSlowClient_GetsNewest,
//     TestSlowClient_GetsAllOfEvery, TestSlowClient_AtItsWhim_MissesNothing), and each topic has its turn
//     (TestSlowClient_EachTopicHasItsTurn).
//   - What comes late, behind a hole that showed late, comes once all the same, to whoever is owed it, however he subscribes, lags and
//     leaves meanwhile (TestLate_WhateverHappens_EachMessageComesOnce, TestHole_ThatShowsLate_IsFilledForEachOnce,
//     TestHole_ShowsByWhatOthersResume, TestUnsubscribe_WhileItLags_LeavesWhatOthersResumedFrom).
//   - A position is good on any edge (TestResume_OnAnotherEdge_MissesNothing), also on one that was told later
//     (TestResume_FromAheadOfThisEdge_BringsNothingTwice), and what is gone is said
//     (TestResume_OfWhatExpired_IsToldAsAGap, TestResume_FromBeyondTheEnd_IsNoPosition). Many who come back at once cost NATS a read or two
//     (TestThousandWhoResumeTheSame_CostOneRead, TestManyWhoResumeNearEachOther_ShareOneRead, BenchmarkResumeOf1000).
//   - After NATS was away everything is brought up to date (TestOutage_AfterStatusOK_EverythingIsUpToDate), part by part however
//     long it was (TestOutage_LongBacklog_ArrivesWholeAndInOrder); a lost last message is found
//     (TestLostLastMessage_IsFoundByTheAudit, TestLostLastValue_IsFoundWhereAHoleShowed), and nobody is told that all is well before he
//     has what he missed (TestStatusOK_FollowsWhatALaggingClientIsOwed). A stream that was lost is said to be
//     (TestStreamMadeAnew_IsToldAndGoesOn, TestStreamInMemory_LostByARestart_IsToldAndGoesOn,
//     TestRepair_OfAStreamThatWasMadeAnewMeanwhile_BeginsAnew), and so is the lost end of one (TestStreamThatLostItsEnd_*).
//   - An edge that stops loses nobody: it is not ready at once, takes in whom load balancers still send, and parts with its
//     clients one by one (TestDrain_WaitsForLoadBalancersFirst, TestDrain_AsksOneByOne, TestDrain_AsksAndThenCloses). One that
//     joined later fills up (TestOldConnection_IsAskedToMoveOn).
//   - What clients can make grow, or ask for, is bounded, each bound counts itself, and LIMITS.md says of each what happens
//     (TestLimit_*, TestLimitsPage_SaysWhatIs, TestPatternsLeftBehind_DoNotAddUp); of an address nothing is kept that is not
//     needed (TestDoor_ForgetsWhoLeft), nor of what a connection asked for (TestSpent_*).
//   - Whatever a client sends, a turn looks at a bounded part of it, so that it does not keep others waiting
//     (TestFlood_OneTurnLooksAtABoundedPartOfIt, TestFlood_OfSome_LeavesOthersTheirLatency).
//   - A new certificate is taken without losing a connection, one that does not work is not (TestTLS_TakesANewCertificate_AndKeepsConnections),
//     and handshakes that never end hold nobody up (TestTLS_HandshakesThatNeverEnd_TimeOut).
//   - Whoever begins a request over HTTP and does not end it, or does not take the answer, does not stay (TestWeb_HasItsEndOfPatience).
//   - A PROXY header counts from those who are trusted with it, and from them it has to be there (TestProxyProtocol_*, FuzzProxyHeader).
//   - A page of another site is not let in, also behind a proxy (TestOrigins_*, FuzzOrigins), and nobody but a trusted proxy says who
//     a client is (TestProxies_*, FuzzForwarded).
//   - Who has no token that is good learns what to do, and nothing else (TestToken_IsTakenWhereItMayTravel,
//     TestToken_RefusalsSayWhatToDo, TestTokens_OverHTTP). No token gets into a log, a metric or an answer
//     (TestTokens_AreNeverToldToOthers).
//   - Nobody subscribes to what is not granted (TestGrants_BoundWhatMayBeSubscribedTo). A refresh replaces the grants at once, in
//     its place among the requests, and one that is no good takes nothing away (TestRefresh_*).
//   - A connection, and a stream of events, ends with its token, whatever becomes of the clock, and its client is told before
//     (TestToken_ThatExpires_EndsItsConnection, TestToken_AboutToExpire_IsToldInTime, TestTokensThatLiveShortly_LoseNothing,
//     TestEventStream_EndsWithItsToken, TestSession_IsLookedAtByTheWallClock).
//   - Verifying a token holds up nobody else, is bounded, ends with its connection, and reaches no other one
//     (TestVerification_*, TestVerifications_AtOnceAreBounded, TestDesk_*). An open edge pays nothing for it (TestOpenEdge_SharesOneSession).
//   - An action needs a switch and a grant, runs once however often it is asked for, is not done late, and has the grace of a
//     drain (TestAction*_*, TestDrain_WaitsForActions).
//   - Who comes when descriptors or memory are used up is refused with 503, and nobody else feels it (room.go, memory.go,
//     TestMemoryNearlyUsedUp_RefusesNewClientsAlone, TestEdge_WithLittleMemoryRefusesNewClientsAlone in cmd/internal/e2e).
//     It is refused before the collector would take more than a few percent of a core (TestMemory_*).
//   - Bad input ends or fails the connection that sent it and no other (TestBadFrames_HurtNobodyElse).
//   - An idle connection has no goroutine (TestIdleConnections_NeedNoGoroutine), a delivery no allocation
//     (TestFanout_AllocatesNothing).
//
// # What it refuses to do
//
// It keeps no message that the stream does not, makes no JetStream consumer for a client, guarantees nothing about messages that
// bypassed the stream, and logs nothing for each message. It does not remember whom it refused, keeps no
// token where no action may need it, and asks nobody whether a token was revoked: short-lived ones are the answer to that.
package edge
