package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// goldenRequests are the requests under testdata, as values.
var goldenRequests = map[string]Request{
	"subscribe": {Type: Subscribe, ID: 1, Topics: []Want{
		{Topic: "metrics.web-1", Snapshot: true},
		{Topic: "container-events.*", Since: &Position{Epoch: "1z8k", Seq: 4031}, Snapshot: true},
	}},
	"subscribe-options": {Type: Subscribe, ID: 1 << 53, Topics: []Want{
		{Topic: "metrics.*", Last: 60, Interval: time.Second, Snapshot: true},
		{Topic: "containers.>"},
		{Topic: "container-events.web-1", Since: &Position{Epoch: "1z8k"}, Last: 1, Snapshot: true},
	}},
	"unsubscribe":       {Type: Unsubscribe, ID: 2, Topics: []Want{{Topic: "metrics.web-1", Snapshot: true}}},
	"action":            {Type: DoAction, ID: 3, Action: &Action{Host: "web-1", Container: "api", Verb: Restart, Timeout: 10 * time.Second}},
	"action-default":    {Type: DoAction, ID: 3, Action: &Action{Host: "web-1", Container: "0123456789ab", Verb: Stop}},
	"refresh":           {Type: Refresh, ID: 4, Token: "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"},
	"heartbeat-request": {Type: ClientHeartbeat, ID: 5},
}

// goldenMessages are the messages under testdata: how one is written, and what is
// read of it.
var goldenMessages = map[string]struct {
	write   func(dst []byte) []byte
	read    Message // but for Payload
	payload any     // a pointer to what the payload decodes into, or its text, or nil: none
}{
	"connected": {
		write: func(dst []byte) []byte {
			return AppendConnected(dst, Connected{Timestamp: 1790000000000, Payload: ConnectedPayload{
				Connection: "c8f0a1", Node: "edge-0", Epoch: "1z8k", HeartbeatMS: 25000, Expires: 1790003600000,
				Limits: Limits{Subscriptions: 128, MessageBytes: 65536},
			}})
		},
		read: Message{Type: "connected", Timestamp: 1790000000000},
		payload: &ConnectedPayload{
			Connection: "c8f0a1", Node: "edge-0", Protocol: "tidings.v1", Epoch: "1z8k", HeartbeatMS: 25000,
			Expires: 1790003600000, Limits: Limits{Subscriptions: 128, MessageBytes: 65536},
		},
	},
	"connected-open": {
		write: func(dst []byte) []byte {
			return AppendConnected(dst, Connected{Timestamp: 1790000000000, Payload: ConnectedPayload{
				Connection: "c8f0a1", Node: "edge-0", HeartbeatMS: 25000,
				Limits: Limits{Subscriptions: 128, MessageBytes: 65536},
			}})
		},
		read: Message{Type: "connected", Timestamp: 1790000000000},
		payload: &ConnectedPayload{
			Connection: "c8f0a1", Node: "edge-0", Protocol: "tidings.v1", HeartbeatMS: 25000,
			Limits: Limits{Subscriptions: 128, MessageBytes: 65536},
		},
	},
	"ack": {
		write: func(dst []byte) []byte { return AppendAck(dst, 1, 1790000000001, ackTopics) },
		read:  Message{Type: "ack", ID: 1, Timestamp: 1790000000001},
		payload: &AckPayload{Topics: []AckTopic{
			{Topic: "metrics.web-1", Epoch: "1z8k", Seq: 4090},
			{Topic: "container-events.*", Epoch: "1z8k", Seq: 4090, Recovered: new(true)},
		}},
	},
	"ack-unrecovered": {
		write: func(dst []byte) []byte {
			return AppendAck(dst, 1, 1790000000001, []AckTopic{{Topic: "container-events.*", Epoch: "1z8k", Seq: 4090, Recovered: new(false)}})
		},
		read:    Message{Type: "ack", ID: 1, Timestamp: 1790000000001},
		payload: &AckPayload{Topics: []AckTopic{{Topic: "container-events.*", Epoch: "1z8k", Seq: 4090, Recovered: new(false)}}},
	},
	"ack-plain": {
		write: func(dst []byte) []byte { return AppendAck(dst, 2, 1790000000001, nil) },
		read:  Message{Type: "ack", ID: 2, Timestamp: 1790000000001},
	},
	"ack-action": {
		write:   func(dst []byte) []byte { return AppendActionAck(dst, 3, 1790000000001, actionDone) },
		read:    Message{Type: "ack", ID: 3, Timestamp: 1790000000001},
		payload: &ActionPayload{Host: "web-1", Container: "api", ID: "0123456789ab", Action: Restart, Changed: true, State: "running"},
	},
	"data": {
		write: func(dst []byte) []byte {
			return AppendData(dst, Data{Topic: "metrics.web-1", Seq: 4091, Prev: 4077, Time: 1790000000002, Payload: metricsPayload})
		},
		read:    Message{Type: "metrics", Topic: "metrics.web-1", Seq: 4091, Prev: 4077, Timestamp: 1790000000002},
		payload: string(metricsPayload),
	},
	"data-first": {
		write: func(dst []byte) []byte {
			return AppendData(dst, Data{Topic: "container-events.web-1", Seq: 4092, Time: 1790000000002,
				Payload: []byte(`{"id":"0123456789ab","name":"caf\u00e9 ☕","event":"start"}`)})
		},
		read:    Message{Type: "container-events", Topic: "container-events.web-1", Seq: 4092, Timestamp: 1790000000002},
		payload: `{"id":"0123456789ab","name":"caf\u00e9 ☕","event":"start"}`,
	},
	"data-bypass": {
		write: func(dst []byte) []byte {
			return AppendData(dst, Data{Topic: "orders.eu.paris", Prev: 7, Time: 1790000000002, Payload: []byte(`[1, 2.50, "x"]`)})
		},
		read:    Message{Type: "orders", Topic: "orders.eu.paris", Timestamp: 1790000000002},
		payload: `[1, 2.50, "x"]`,
	},
	"data-gone": {
		write: func(dst []byte) []byte {
			return AppendData(dst, Data{Topic: "host.web-1", Seq: 4093, Prev: 4080, Time: 1790000000002, Gone: true})
		},
		read: Message{Type: "host", Topic: "host.web-1", Seq: 4093, Prev: 4080, Timestamp: 1790000000002, Gone: true},
	},
	"gap": {
		write: func(dst []byte) []byte {
			return AppendGap(dst, "container-events.web-1", 1790000000003, 4031, 4077, GapExpired)
		},
		read:    Message{Type: "gap", Topic: "container-events.web-1", Timestamp: 1790000000003},
		payload: &GapPayload{After: 4031, Before: 4077, Reason: GapExpired},
	},
	"error": {
		write:   func(dst []byte) []byte { return AppendError(dst, 3, 1790000000004, tooMany) },
		read:    Message{Type: "error", ID: 3, Timestamp: 1790000000004},
		payload: &ErrorPayload{Code: TooManyRequests, Message: "Ask again in half a second.", RetryAfterMS: 500},
	},
	"error-without-id": {
		write: func(dst []byte) []byte {
			return AppendError(dst, 0, 1790000000004, &Error{Code: BadRequest, Message: "\"a\\b\"\n\t\x01 – not json"})
		},
		read:    Message{Type: "error", Timestamp: 1790000000004},
		payload: &ErrorPayload{Code: BadRequest, Message: "\"a\\b\"\n\t\x01 – not json"},
	},
	"error-topic": {
		write: func(dst []byte) []byte {
			return AppendError(dst, 0, 1790000000004, &Error{Code: Forbidden, Topic: "metrics.*", Message: "It is no longer granted."})
		},
		read:    Message{Type: "error", Topic: "metrics.*", Timestamp: 1790000000004},
		payload: &ErrorPayload{Code: Forbidden, Message: "It is no longer granted."},
	},
	"heartbeat": {
		write: func(dst []byte) []byte { return AppendHeartbeat(dst, 1790000000005) },
		read:  Message{Type: "heartbeat", Timestamp: 1790000000005},
	},
	"status-degraded": {
		write:   func(dst []byte) []byte { return AppendStatus(dst, 1790000000006, true, 1790000000000) },
		read:    Message{Type: "status", Timestamp: 1790000000006},
		payload: &StatusPayload{Upstream: UpstreamDegraded, Since: 1790000000000},
	},
	"status-ok": {
		write:   func(dst []byte) []byte { return AppendStatus(dst, 1790000000007, false, 1790000000007) },
		read:    Message{Type: "status", Timestamp: 1790000000007},
		payload: &StatusPayload{Upstream: UpstreamOK, Since: 1790000000007},
	},
	"going_away": {
		write:   func(dst []byte) []byte { return AppendGoingAway(dst, 1790000000008, "draining", 0, 8000, 20000) },
		read:    Message{Type: "going_away", Timestamp: 1790000000008},
		payload: &GoingAwayPayload{Reason: "draining", ReconnectMS: [2]int64{0, 8000}, DeadlineMS: 20000},
	},
}

var (
	ackTopics = []AckTopic{
		{Topic: "metrics.web-1", Epoch: "1z8k", Seq: 4090},
		{Topic: "container-events.*", Epoch: "1z8k", Seq: 4090, Recovered: new(true)},
	}
	actionDone     = ActionPayload{Host: "web-1", Container: "api", ID: "0123456789ab", Action: Restart, Changed: true, State: "running"}
	metricsPayload = []byte(`{"intervalSeconds":1,"host":"web-1.example.org","load":[0.52,0.48,0.40]}`)
	tooMany        = &Error{Code: TooManyRequests, Message: "Ask again in half a second.", RetryAfter: 500 * time.Millisecond}
)

func TestGolden_Requests(t *testing.T) {
	for name, want := range goldenRequests {
		t.Run(name, func(t *testing.T) {
			text := golden(t, name+".json")
			got, err := ParseRequest(text)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read %+v, want %+v", got, want)
			}
			if wrote := AppendRequest(nil, want); !bytes.Equal(wrote, text) {
				t.Errorf("wrote\n%s, want\n%s", wrote, text)
			}
		})
	}
}

func TestGolden_Messages(t *testing.T) {
	for name, g := range goldenMessages {
		t.Run(name, func(t *testing.T) {
			text := golden(t, name+".json")
			if wrote := g.write([]byte("before")); string(wrote) != "before"+string(text) {
				t.Errorf("wrote\n%s, want\nbefore%s", wrote, text)
			}
			got, err := ParseMessage(text)
			if err != nil {
				t.Fatal(err)
			}
			payload := got.Payload
			got.Payload = nil
			if !reflect.DeepEqual(got, g.read) {
				t.Errorf("read %+v, want %+v", got, g.read)
			}
			switch want := g.payload.(type) {
			case nil:
				if payload != nil {
					t.Errorf("payload %s, want none", payload)
				}
			case string:
				if string(payload) != want {
					t.Errorf("payload %s, want %s", payload, want)
				}
			default:
				read := reflect.New(reflect.TypeOf(want).Elem()).Interface()
				if err := json.Unmarshal(payload, read); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(read, want) {
					t.Errorf("payload %+v, want %+v", read, want)
				}
			}
		})
	}
}

func TestGolden_Refusal(t *testing.T) {
	got := AppendRefusal(nil, Unavailable, "This edge is draining; try again.")
	if want := golden(t, "refusal.json"); !bytes.Equal(got, want) {
		t.Errorf("wrote %s, want %s", got, want)
	}
}

// TestGolden_IndexIsComplete holds that the index names each file once, and that each is
// tested here as what the index says it is.
func TestGolden_IndexIsComplete(t *testing.T) {
	var index []struct{ File, From, Kind, About string }
	if err := json.Unmarshal(golden(t, "index.json"), &index); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"index.json": true}
	for _, entry := range index {
		if listed[entry.File] {
			t.Errorf("%s is listed twice", entry.File)
		}
		listed[entry.File] = true
		name := strings.TrimSuffix(entry.File, ".json")
		kind := ""
		switch entry.From {
		case "client":
			kind = string(goldenRequests[name].Type)
		case "server":
			if read := goldenMessages[name].read; read.Type != "" {
				if kind = read.Type; read.IsData() {
					kind = "data"
				}
			}
		case "http":
			kind = name
		}
		if kind == "" || kind != entry.Kind {
			t.Errorf("%s: the index says %s from %s, the test has %q", entry.File, entry.Kind, entry.From, kind)
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !listed[filepath.Base(file)] {
			t.Errorf("%s is not in the index", file)
		}
	}
	if len(listed) != len(files) {
		t.Errorf("the index lists %d files, %d are there", len(listed), len(files))
	}
}

// golden is the text of a file under testdata without its last line's end.
func golden(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(text, []byte("\n"))
}
