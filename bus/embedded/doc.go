// Package embedded runs nats-server with JetStream inside the process, so that one program is a whole Tidings. It is the
// only package that links nats-server.
//
// Start serves the process itself through InProcessConn (for bus.Config.InProcess), and others too if Listen says where.
// There is no authentication: what listens should listen on a loopback address.
//
// The data directory belongs to one process at a time. A lock on a file in it keeps a second one out; the system lets
// go of the lock when the process dies, whichever way.
//
// nats-server brings goroutines of its own. All of them have ended when Shutdown returns.
//
// # Promises
//
//   - Streams and positions outlive a restart: TestRestart_KeepsStream.
//   - Who else uses the directory, or the port, is said before anything is touched: TestStart_SaysWhatIsWrong.
//   - Nothing is reachable from outside unless asked for: TestStart_InProcessOnly.
package embedded
