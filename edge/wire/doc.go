// Package wire is the Tidings protocol as pure values: what a client and an
// edge say to each other, and its form as JSON. It opens no socket, starts no
// goroutine, keeps no state and knows nothing of NATS; a topic is a plain string
// here, its grammar belongs to package bus.
//
// # The way of a request
//
// The edge hands the text of one frame to [ParseRequest] (parse.go). The text
// is first proved to be UTF-8 and JSON as a whole, then walked in place
// (json.go) without building a tree. The id is read before anything else,
// so that nearly every refusal can be given to the request that it is about. A client
// writes the same requests with [AppendRequest] (request.go).
//
// # The way of a message
//
// The edge writes with the Append functions (append.go), each of which adds one whole
// message to a buffer of the caller's and allocates nothing beyond it. [AppendData]
// embeds a payload byte for byte, so whoever calls it has checked that
// it is JSON. A client reads with [ParseMessage] (message.go), which leaves the
// payload as it came, and decodes it into one of the payload types when it
// wants to.
//
// # Closed lists
//
// [RequestTypes], [MessageTypes], [Codes], [RefusalCodes], [CloseCodes], [GapReasons],
// [Verbs] and [ReservedTypes] are complete: an edge sends nothing else, and a metric
// labelled by one of them can exist from the start.
//
// # Promises, and the tests that hold them
//
//   - Every message is written exactly as the protocol's page shows it:
//     TestGolden_Messages, TestGolden_Requests.
//   - A wrong request is refused with bad_request, the name of the field, and its
//     id wherever that could be read: TestParseRequest_NamesTheField,
//     TestParseRequest_RecoversTheID.
//   - What is read as a request can be written and read again, and nothing that a
//     client sends makes the parser panic or repeat much of it: FuzzParseRequest.
//   - Appending allocates nothing: TestAppend_AllocatesNothing.
//   - Parsing a subscribe to five topics leaves less than 1,000 bytes of garbage:
//     TestParseRequest_LeavesLittleGarbage.
//
// The golden messages under testdata are shared with clients in other languages:
// index.json lists them with who sends each and its kind.
package wire
