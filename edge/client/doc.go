// Package client is the Go client of a Tidings edge: it subscribes, follows over lost
// connections and rollouts, and tells what it could not get.
//
//	c, err := client.New(client.Config{
//		URL: "ws://127.0.0.1:8080/ws",
//		Handler: client.Handler{
//			Message: func(m client.Message) { fmt.Printf("%s\n", m.Raw) },
//			Gap:     func(g client.Gap) { log.Printf("%s: lost %d to %d", g.Topic, g.After, g.Before) },
//		},
//	})
//	…
//	err = c.Subscribe("metrics.*", client.Options{})
//	…
//	err = c.Run(ctx)
//
// # The way of a message
//
// A line (line.go) is one connection. Its goroutine dials, waits for the greeting, and then reads one
// message after the other, each of which it hands to Run's goroutine over a channel without a
// buffer. That goroutine (run.go, message.go) drops what it has heard before (topic.go), calls the Handler, and
// moves the position of each subscription that the message belongs to (subscription.go). Then the line
// reads the next. So a slow Handler is felt by the edge, which conflates or refills as the
// protocol says, and nothing grows here.
//
// # Goroutines
//
// Run's own goroutine owns everything but what Client.mu guards, writes all requests and makes all
// calls of the Handler. Each line has one that dials and reads, and, when it is left, another that closes it in
// good order. Run waits for all of them. Client.mu guards the list of subscriptions and their positions; no
// call of the Handler and no write is made under it.
//
// # Where a resume starts
//
// A position may be used only when all before it has been handled. Which one that is depends
// on what a pattern can match:
//
//   - `every` topics come in rising seq over all topics of the pattern, so each message is a
//     position, and so is an ack that has no replay behind it.
//   - `latest` topics come in no order between each other: a later seq of one says nothing about
//     another. The position stays at the ack, and a resume brings at most one message of each
//     topic; what was heard already is dropped.
//   - An ack comes before what it promises. Where that is a snapshot, the ack's seq becomes the
//     position only after two quiet heartbeats; a connection lost before that asks again for all of it.
//     After a recovered one the position goes on from where it was.
//   - A pattern that begins with a wildcard has both. It moves to what was seen of `every` topics
//     a heartbeat ago, so of those nothing is lost. A `latest` topic of such a pattern may wait for its next
//     message if its value was still on its way when the connection was lost; ask for `metrics.>` and
//     `orders.>` rather than `>` where that matters.
//
// History asked for with `last` that a lost connection cut off is not asked for again of `every` topics: what came
// since then goes before it.
//
// When the stream is made anew under an open connection, seqs begin again from 1. The client tells that
// by seq and timestamp, goes on, and keeps the position of the old epoch, so that the next resume is answered with
// recovered false and gaps, and no loss is hidden.
//
// # Promises, and the tests that hold them
//
//   - Each message is handled once, per topic in rising seq, over any number of
//     reconnects: TestReconnect_ResumesAndDropsDuplicates.
//   - An edge that drains loses nobody: the old connection delivers until the new one has taken every
//     subscription: TestGoingAway_MakesBeforeBreak, TestGoingAway_OldLineDiesEarly.
//   - So does a token that expires: TestGoingAway_BeforeATokenExpires_BringsANewOne.
//   - A loss is told: TestGap_IsTold, TestReconnect_TellsWhatIsNotRecovered.
//   - A snapshot that was cut off is asked for again: TestReconnect_AsksAgainForAHalfSnapshot.
//   - Clients come back spread out, and stay away when told to: TestBackoff_IsSpreadAndBounded,
//     TestClose_StaysAwayOrComesBack, TestRefusal_StaysAwayOrComesBack, TestRefusal_HonoursRetryAfter.
//   - A dead connection is noticed: TestSilence_Reconnects.
//   - A slow Handler is felt by the edge: TestSlowHandler_StopsTheEdge.
//
// # What it refuses to do
//
// It does not queue, store or decode payloads, and does not act on containers. It does not refresh a token in place either: an
// edge asks its client to move on before its token expires, and this one then comes with a new token while the old connection still
// delivers, as in a rollout. One that is late is closed with 4401, comes back and resumes.
package client
