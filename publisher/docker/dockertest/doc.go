// Package dockertest runs a real Docker Engine for tests, with containers that
// do what a test wants of them.
//
// Each engine is a dockerd of its own (engine.go), with its directories, its
// socket and its containers' network apart from those of the machine's engine
// and of other test processes. Tests share one (shared.go) unless they start,
// kill and restart theirs. No image can be pulled and none needs to be: the
// only one (image.go) holds the program in probe/, built on the spot, which
// burns, holds, sends, falls sick or exits as its arguments say. container.go
// has what can be done with a container, one method each.
//
// An engine needs root and dockerd. Where either is missing a test that asks for
// one is skipped with a message that says what is missing; where the environment
// has CI=true it fails, so that no build passes by not testing.
//
// An engine is ended by its process id, after all of its containers: by the end
// of its test, or by Main for the shared one. One whose test process is killed
// gets SIGTERM from the kernel, and ends its containers itself.
package dockertest
