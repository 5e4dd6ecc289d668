// Package chaos breaks a whole cluster for real, and judges from what its clients saw whether the promises of the protocol
// held. It is a part of the tests, and nothing imports it.
//
// # Who plays
//
// Three nats-servers with a stream of three replicas, three edges behind HAProxy, two publishers of hosts, publishers that
// count, and an audience of clients: each a process with an address of its own (network_test.go, cluster_test.go, audience_test.go).
// Half of the counting topics are `every` topics, half `latest` ones. Two thirds of the clients are edge/client (crowd_test.go);
// the others are written from the protocol's page alone, and keep what they are sent as it comes (witness_test.go).
//
// The stage (stage_test.go) is a set of namespaces that the test binary makes and runs itself in: of networks, so that
// nothing touches the machine's own; of mounts and processes, so that the system clears all of it away when the run ends,
// by a crash too.
//
// # The way of a run
//
// A seed chooses who is hit, and who subscribes to what. The load begins; a scenario breaks something, waits for signs of life,
// mends it; the load ends; the clients wait for what is still to come. What they saw is the History (history.go), with what the
// stream acknowledged and what it holds. Check (check.go) judges it, by the same rules for all scenarios:
//
//   - Every client has every message of its `every` topics once and in order, from its first ack on, or was told of the gap; and
//     gaps are told only where a scenario allows them.
//   - Each message names its predecessor as the stream has it.
//   - An ack that says recovered is followed by all that it promised; and none says otherwise where all is retained.
//   - Of `latest` topics every client ends with the newest value.
//   - What the stream has acknowledged it holds.
//
// It also measures for how long a client had nothing at all, and how late a message came; each scenario has its bound. At the
// end the edges use no more goroutines, descriptors, memory and subscriptions at NATS than before anybody came (resources_test.go).
//
// # The scenarios
//
//	edges_test.go        an edge is killed, paused; all are restarted in turn
//	nats_test.go         the stream's leader is killed, cut off, cut off from the other servers alone; all are restarted in turn
//	halfopen_test.go     clients vanish, an edge vanishes, and no FIN tells it
//	publishers_test.go   one of two publishers is killed
//	frames_test.go       a relay (relay_test.go) that knows NATS' frames loses, doubles and delays single messages, and the last ones
//	packets_test.go      packets are lost; an edge's line is narrow
//	mixed_test.go        all that (fault_test.go) as it comes: the seed draws what is broken, when, and for how long, and prints it
//	slowlink_test.go     a client by itself behind a modem's line: how old its values are (ten minutes with SOAK=30m)
//	mutation_test.go     one line of the deduplication, of the hole filling or of the resume is taken out: the checker notices
//
// Each can be run alone, and prints what it saw:
//
//	CHAOS=1 go test -v -count=1 -run TestEdge_KilledLosesNothing ./cmd/internal/e2e/chaos
//
// CHAOS=full makes every pause as long as what is promised; CHAOS_SEED=n plays a run again; CHAOS_HISTORY=dir keeps the histories.
// Without CHAOS only the checker is tested (check_test.go), by histories in which one thing each is wrong. `make e2e` sets it.
// Root, HAProxy, iproute2 and iptables are needed; without them scenarios are skipped, and fail where CI=true.
package chaos
