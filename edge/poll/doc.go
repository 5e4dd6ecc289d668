// Package poll gives one goroutine the readiness of many sockets.
//
// A [Poller] belongs to one goroutine, its owner: the owner adds sockets to it, waits in
// [Poller.Wait] until some of them can be read or written, and then reads and writes them itself with
// calls that never block. Every socket is known by a [Token] of the owner's choosing. Only
// [Poller.Wake] may be called by others: it makes a waiting owner return.
//
// Two transports lie behind the same [Socket]:
//
//   - On Linux a TCP connection is a bare descriptor in the poller's epoll set (epoll_linux.go). An idle one costs
//     no goroutine, no buffer and no Go object; the listener hands descriptors over before the runtime has made
//     anything of them. A waiting owner sleeps in the runtime's own poller, at a gate in front of the epoll set (gate_linux.go),
//     so that it holds no thread, sockets wake nobody while it works or rests, and a wake-up by others is a deadline that has
//     passed: no pipe, no system call.
//   - Everywhere else, and for whatever is not a plain TCP connection (TLS, a pipe in a test), a goroutine
//     reads and another one writes on the owner's behalf (stream.go). It costs two stacks and two buffers
//     a connection, some 20 KB, and is otherwise the same to the owner.
//
// Events are level-triggered: what was not read or written is announced again by the next Wait. An event
// may be stale (the socket was closed by an earlier event of the same batch), so owners put a generation into
// their tokens. A descriptor is closed by its owner and by nobody else, since a number that another
// goroutine closed may already be somebody else's connection.
//
// System calls that can't block are made without telling Go's scheduler: it would look after them, which costs more than they do.
// [Quiet] (quiet_linux.go) makes reads of an ordinary connection such ones, for the line that everything to be delivered comes by.
//
// This package is the only one that makes system calls for sockets. It knows nothing of WebSocket.
package poll
