// Package e2e tests whole clusters: the programs as processes, a real NATS, a real Docker Engine, a real browser, and
// clients that know nothing of ours. It holds tests alone, and nothing imports it.
//
// # Who plays
//
//	main_test.go       the stage: a directory for everything, programs built once, and a look at what was left behind
//	program_test.go    a program in a process of its own: started, signalled, waited for, what it writes
//	cluster_test.go    edges, publishers, NATS and its monitoring; publishing by nats.go, as any NATS client may
//	socket_test.go     a client by coder/websocket, written from the protocol's page: it keeps what comes, and checks prev
//	crowd_test.go      thousands of clients, as raw connections
//	browser_test.go    a Chromium by the DevTools protocol, and what it sees
//
// # What they promise
//
//   - `tidings run` shows this machine within seconds, stops cleanly, goes on where it was, and shares its directory with
//     nobody: run_test.go.
//   - What happens to a container is seen within a second, in order, each message naming its predecessor; Docker may die
//     and come back: containers_test.go.
//   - A message published once reaches the clients of all edges, and no edge that has no use for it: spread_test.go.
//   - An edge that is killed or stopped, or a NATS that is away, costs a client no message: resume_test.go.
//   - An edge that is to stop waits until load balancers have noticed: resume_test.go. One that has few file descriptors, or little memory,
//     refuses new clients, and nobody else feels it: scarce_test.go.
//   - A host whose publisher ends is gone, soon and by itself, and no two publishers share a name: publisher_test.go.
//   - Clients that stay miss nothing, and edges hold no more at the end than at the beginning, however long others come and go,
//     read slowly or vanish: soak_test.go (SOAK=30m in the environment; make soak).
//   - A long outage's backlog fits into an edge's memory, with thousands of clients that wait for it or don't read: backlog_test.go.
//   - The tools and command lines do what their help says: tools_test.go, command_test.go.
//   - 10,000 idle clients cost an edge no goroutine and at most 14 MB; 1,000 get 300 messages a second, all of them, in
//     order, and a message to 1,000 wakes few of its threads: load_test.go.
//   - Images hold a program that runs, as nobody, and the list of what is in it: images_test.go.
//   - A browser shows it: browser_test.go.
//
// What a cluster on several machines promises while parts of it break is tested by the package chaos, below this one.
//
// # Rules
//
// Nothing sleeps in order to be in step with something else: a test waits for what it needs to see, with a deadline, and
// says what it waited for. Where a promise is about time, the clocks of what happened are compared, so that waiting
// itself may take long on a busy machine. All that is started, also by others, has the stage's directory in its
// environment; after the tests no process, mount or file of it may be left, or the run fails.
//
// Tests need Linux. Where root, dockerd or Chromium is missing they are skipped and say what to install; with CI=true in
// the environment they fail, so that no build passes by not testing. -short leaves out the load.
package e2e
