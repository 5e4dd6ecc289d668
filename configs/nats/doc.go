// Package nats is the servers' side: nats.conf is a nats-server in which every role may do its work and nothing else,
// stream.json the stream for operators who make it themselves. README.md says how to use them. There is no code here but
// the tests that hold the files to it, with a real nats-server and the programs' own packages.
//
// # Promises
//
//   - An edge and publishers do all their work with it: TestRoles_DoTheirWork.
//   - None can do more, a table of attempts long: TestRoles_NothingBeyond.
//   - Nor by having an answer sent where they may not write: TestRoles_AnswersGoNowhereElse.
//   - In operator mode one signing key binds each publisher to its host: TestOperatorMode_OneSigningKeyForAllHosts.
//   - stream.json is the stream that the programs want: TestStream_IsWhatTheProgramsWant.
package nats
