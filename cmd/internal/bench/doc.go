// Package bench puts a load on an edge from outside, and measures what becomes of it: `tidings bench`.
//
// # The way of a message
//
// The publisher (publish.go) has a schedule: when each message is due is known before anything is sent. It writes that
// time into the payload and publishes by package bus; the edge relays; the crowd of the client (crowd.go) splits what
// a read brought into frames (frame.go), reads topic, place and due time (message.go), and adds to its tally
// (tally.go): was it the next one of its topic, and how long after it was due did it come. So latency is corrected for coordinated
// omission by how it is measured: whatever holds up a message, publisher included, makes it late, and nothing keeps the next one from
// being due.
//
// # The way of a run
//
//	config.go scenario.go  what is asked for; the standing loads
//	connect.go client.go   opens the clients, some side by side, each with a blocking handshake; then package poll has it
//	storm.go churn.go      what else may go on: clients that all connect at once, subscribes and unsubscribes
//	run.go                 goes through the phases, looking at the clock, the tallies and the edges' processes (process.go)
//	result.go              what was found; Fault says what is wrong with it
//	table.go hgrm.go svg.go  writes it
//	floor.go               the least that a server can do, to compare with
//	report.go markdown.go  the standing set: each on a fresh NATS and a fresh server (child.go), several times
//
// # Goroutines
//
//   - One for each crowd, a few. It owns its clients and reads for them; a client has no goroutine of its own. The tally is
//     shared under a lock, which a crowd takes once for each read.
//   - While connecting, some that open clients; while publishing, one that keeps the schedule and some that each wait for
//     NATS to take a message.
//   - One that tells the progress, if somebody looks.
//
// Run returns when all of them have ended and all connections are closed.
//
// # Promises
//
//   - What the edge sends is counted once, whatever the load is like: TestRun_DeliversEverything.
//   - What is missing, comes twice, out of order or unasked is told: TestCrowd_TellsWhatIsWrong.
//   - A message that is held up is late, and so are those behind it: TestLatency_CountsFromWhenItWasDue.
//   - A client that waits costs no goroutine: TestRun_ClientsNeedNoGoroutine.
//   - Stopping early gives what was measured so far: TestRun_InterruptedTellsWhatItHas.
//   - The short way of reading a message says what the long one says: FuzzDecoder_WaysAgree.
//
// # What it refuses to do
//
// It does not guess: where the edges' processes are not named nothing is said about their cost, and a result in which messages are
// missing is a fault, not a figure. It measures one machine's load; to load an edge with more than one process can, run it on several.
package bench
