package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseRequest reads the text of one request. Whatever is wrong with it comes back as an Error with
// code BadRequest whose message names the field; the Request then holds the ID, if that
// could be read, and nothing else of use. Of a key that is there twice the last
// counts; null is as good as absent.
func ParseRequest(text []byte) (Request, *Error) {
	if err := check(text); err != nil {
		return Request{}, badRequest(err.Error())
	}
	object := trim(text)
	if object[0] != '{' {
		return Request{}, badRequest("a request is a json object")
	}
	var f fields
	for key, v := range members(object) {
		f.set(key, v)
	}
	var r Request
	var err *Error
	if r.ID, err = number(f.id, field{name: "id"}, 1, maxInteger); err != nil {
		return Request{}, err
	}
	if err = f.interpret(&r); err != nil {
		return Request{ID: r.ID}, err
	}
	return r, nil
}

// fields are the members of a request that mean something; nil: absent.
type fields struct {
	kind, id, topics, host, container, action, timeout, token value
}

func (f *fields) set(key []byte, v value) {
	if v.isNull() {
		v = nil
	}
	switch string(key) {
	case "type":
		f.kind = v
	case "id":
		f.id = v
	case "topics":
		f.topics = v
	case "host":
		f.host = v
	case "container":
		f.container = v
	case "action":
		f.action = v
	case "timeout_ms":
		f.timeout = v
	case "token":
		f.token = v
	}
}

func (f *fields) interpret(r *Request) (err *Error) {
	kind, err := word(f.kind, field{name: "type"})
	if err != nil {
		return err
	}
	switch r.Type = RequestType(kind); r.Type {
	case Subscribe, Unsubscribe:
		r.Topics, err = parseTopics(f.topics)
	case DoAction:
		r.Action, err = f.parseAction()
	case Refresh:
		r.Token, err = word(f.token, field{name: "token"})
	case ClientHeartbeat:
	default:
		err = badRequest("type: " + f.kind.short() + " is unknown; there are " + list(RequestTypes))
	}
	return err
}

func (f *fields) parseAction() (*Action, *Error) {
	var a Action
	var verb string
	var err *Error
	if a.Host, err = word(f.host, field{name: "host"}); err != nil {
		return nil, err
	}
	if a.Container, err = word(f.container, field{name: "container"}); err != nil {
		return nil, err
	}
	if verb, err = word(f.action, field{name: "action"}); err != nil {
		return nil, err
	}
	if a.Verb = Verb(verb); !slices.Contains(Verbs, a.Verb) {
		return nil, badRequest("action: " + f.action.short() + " is unknown; there are " + list(Verbs))
	}
	if f.timeout != nil {
		if a.Timeout, err = millis(f.timeout, field{name: "timeout_ms"}, MinTimeout, MaxTimeout); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

func parseTopics(array value) ([]Want, *Error) {
	at := field{name: "topics"}
	if array == nil {
		return nil, at.missing()
	}
	if array[0] != '[' {
		return nil, at.wrong(array, "not an array")
	}
	count := 0
	for range elements(array) {
		count++
	}
	if count == 0 {
		return nil, at.wrong(array, "empty; name at least one topic")
	}
	wants := make([]Want, 0, count)
	for i, v := range elements(array) {
		w, err := parseWant(v, i)
		if err != nil {
			return nil, err
		}
		wants = append(wants, w)
	}
	return wants, nil
}

func parseWant(v value, i int) (Want, *Error) {
	w := Want{Snapshot: true}
	at := field{topic: i + 1}
	var err *Error
	switch v[0] {
	case '"':
		w.Topic, err = word(v, at)
		return w, err
	case '{':
	default:
		return w, at.wrong(v, "neither a topic nor an object with one")
	}
	var topic value
	for key, v := range members(v) {
		if v.isNull() {
			continue
		}
		at := field{topic: i + 1}
		switch string(key) {
		case "topic":
			topic = v
		case "since":
			w.Since, err = parseSince(v, i)
		case "last":
			at.name = "last"
			var n uint64
			n, err = number(v, at, 1, MaxLast)
			w.Last = int(n)
		case "snapshot":
			var ok bool
			if w.Snapshot, ok = v.boolean(); !ok {
				at.name = "snapshot"
				err = at.wrong(v, "neither true nor false")
			}
		case "interval_ms":
			at.name = "interval_ms"
			w.Interval, err = millis(v, at, MinInterval, MaxInterval)
		}
		if err != nil {
			return w, err
		}
	}
	w.Topic, err = word(topic, field{topic: i + 1, name: "topic"})
	return w, err
}

func parseSince(object value, i int) (*Position, *Error) {
	at := field{topic: i + 1, name: "since"}
	if object[0] != '{' {
		return nil, at.wrong(object, "not an object with epoch and seq")
	}
	var epoch, seq value
	for key, v := range members(object) {
		if v.isNull() {
			v = nil
		}
		switch string(key) {
		case "epoch":
			epoch = v
		case "seq":
			seq = v
		}
	}
	var p Position
	var err *Error
	if p.Epoch, err = word(epoch, field{topic: i + 1, name: "since.epoch"}); err != nil {
		return nil, err
	}
	if p.Seq, err = number(seq, field{topic: i + 1, name: "since.seq"}, 0, maxInteger); err != nil {
		return nil, err
	}
	return &p, nil
}

// word is the string at a field, which must be there and not be empty.
func word(v value, at field) (string, *Error) {
	if v == nil {
		return "", at.missing()
	}
	s, ok := v.text()
	switch {
	case !ok:
		return "", at.wrong(v, "not a string")
	case s == "":
		return "", badRequest(at.String() + ": empty")
	}
	return s, nil
}

// number is the integer at a field, which must be there and lie within least and most.
func number(v value, at field, least, most uint64) (uint64, *Error) {
	if v == nil {
		return 0, at.missing()
	}
	digits := v
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, at.wrong(v, "not an integer")
		}
	}
	n, ok := v.integer()
	switch {
	case v[0] == '-' || ok && n < least:
		return 0, at.wrong(v, "below "+strconv.FormatUint(least, 10))
	case !ok || n > most:
		return 0, at.wrong(v, "above "+strconv.FormatUint(most, 10))
	}
	return n, nil
}

// millis is the time, in milliseconds, at a field.
func millis(v value, at field, least, most time.Duration) (time.Duration, *Error) {
	n, err := number(v, at, uint64(least.Milliseconds()), uint64(most.Milliseconds()))
	return time.Duration(n) * time.Millisecond, err
}

// field is where in a request something stands. It is written out only when
// something is wrong there.
type field struct {
	topic int // 1 for the first of topics; 0: not in there
	name  string
}

func (f field) String() string {
	switch {
	case f.topic == 0:
		return f.name
	case f.name == "":
		return fmt.Sprintf("topics[%d]", f.topic-1)
	}
	return fmt.Sprintf("topics[%d].%s", f.topic-1, f.name)
}

func (f field) missing() *Error { return badRequest(f.String() + ": missing") }

func (f field) wrong(v value, what string) *Error {
	return badRequest(f.String() + ": " + v.short() + " is " + what)
}

func badRequest(message string) *Error { return &Error{Code: BadRequest, Message: message} }

func list[T ~string](names []T) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	return b.String()
}
