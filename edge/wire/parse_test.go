package wire

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseRequest_NamesTheField(t *testing.T) {
	tests := []struct{ text, message string }{
		{``, "not json at byte 0: unexpected end of JSON input"},
		{`{"type":"subscribe"`, "not json at byte 19: unexpected end of JSON input"},
		{`{"type":subscribe}`, "not json at byte 9: invalid character 's' looking for beginning of value"},
		{`{"id":1} {}`, "not json at byte 10: invalid character '{' after top-level value"},
		{"\xef\xbb\xbf{}", "not json at byte 1: invalid character 'ï' looking for beginning of value"},
		{"{\"type\":\"\xff\"}", "not utf-8"},
		{`[]`, "a request is a json object"},
		{`null`, "a request is a json object"},
		{`7`, "a request is a json object"},
		{`{}`, "id: missing"},
		{`{"ID":1,"type":"heartbeat"}`, "id: missing"},
		{`{"id":null,"type":"heartbeat"}`, "id: missing"},
		{`{"id":0,"type":"heartbeat"}`, "id: 0 is below 1"},
		{`{"id":-0,"type":"heartbeat"}`, "id: -0 is below 1"},
		{`{"id":-5,"type":"heartbeat"}`, "id: -5 is below 1"},
		{`{"id":1.0,"type":"heartbeat"}`, "id: 1.0 is not an integer"},
		{`{"id":1e3,"type":"heartbeat"}`, "id: 1e3 is not an integer"},
		{`{"id":"1","type":"heartbeat"}`, `id: "1" is not an integer`},
		{`{"id":[1],"type":"heartbeat"}`, `id: [1] is not an integer`},
		{`{"id":9007199254740993,"type":"heartbeat"}`, "id: 9007199254740993 is above 9007199254740992"},
		{`{"id":99999999999999999999999999999999999999999999,"type":"heartbeat"}`, "id: 9999999999999999999999999999999999999999… is above 9007199254740992"},
		{`{"id":18446744073709551617,"type":"heartbeat"}`, "id: 18446744073709551617 is above 9007199254740992"}, // 2^64 + 1
		{`{"id":1}`, "type: missing"},
		{`{"id":1,"type":7}`, "type: 7 is not a string"},
		{`{"id":1,"type":""}`, "type: empty"},
		{`{"id":1,"type":"Subscribe"}`, `type: "Subscribe" is unknown; there are subscribe, unsubscribe, action, refresh, heartbeat`},
		{`{"id":1,"type":"subscribe"}`, "topics: missing"},
		{`{"id":1,"type":"subscribe","topics":null}`, "topics: missing"},
		{`{"id":1,"type":"subscribe","topics":"a"}`, `topics: "a" is not an array`},
		{`{"id":1,"type":"subscribe","topics":{}}`, "topics: {} is not an array"},
		{`{"id":1,"type":"subscribe","topics":[ ]}`, "topics: [ ] is empty; name at least one topic"},
		{`{"id":1,"type":"unsubscribe","topics":[]}`, "topics: [] is empty; name at least one topic"},
		{`{"id":1,"type":"unsubscribe","topics":["a",7]}`, "topics[1]: 7 is neither a topic nor an object with one"},
		{`{"id":1,"type":"subscribe","topics":["a",""]}`, "topics[1]: empty"},
		{`{"id":1,"type":"subscribe","topics":["a",null]}`, "topics[1]: null is neither a topic nor an object with one"},
		{`{"id":1,"type":"subscribe","topics":[{}]}`, "topics[0].topic: missing"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":""}]}`, "topics[0].topic: empty"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":["a"]}]}`, `topics[0].topic: ["a"] is not a string`},
		{`{"id":1,"type":"subscribe","topics":["a",{"topic":"b","interval_ms":50}]}`, "topics[1].interval_ms: 50 is below 100"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","interval_ms":60001}]}`, "topics[0].interval_ms: 60001 is above 60000"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","interval_ms":"1s"}]}`, `topics[0].interval_ms: "1s" is not an integer`},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","last":0}]}`, "topics[0].last: 0 is below 1"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","last":1025}]}`, "topics[0].last: 1025 is above 1024"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","snapshot":"no"}]}`, `topics[0].snapshot: "no" is neither true nor false`},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","since":4031}]}`, "topics[0].since: 4031 is not an object with epoch and seq"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","since":{"seq":1}}]}`, "topics[0].since.epoch: missing"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","since":{"epoch":1,"seq":1}}]}`, "topics[0].since.epoch: 1 is not a string"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","since":{"epoch":"e","seq":null}}]}`, "topics[0].since.seq: missing"},
		{`{"id":1,"type":"subscribe","topics":[{"topic":"b","since":{"epoch":"e","seq":-1}}]}`, "topics[0].since.seq: -1 is below 0"},
		{`{"id":1,"type":"action"}`, "host: missing"},
		{`{"id":1,"type":"action","host":"h"}`, "container: missing"},
		{`{"id":1,"type":"action","host":"h","container":{}}`, "container: {} is not a string"},
		{`{"id":1,"type":"action","host":"h","container":"c"}`, "action: missing"},
		{`{"id":1,"type":"action","host":"h","container":"c","action":"reboot"}`, `action: "reboot" is unknown; there are start, stop, restart, pause, unpause, kill, remove`},
		{`{"id":1,"type":"action","host":"h","container":"c","action":"kill","timeout_ms":999}`, "timeout_ms: 999 is below 1000"},
		{`{"id":1,"type":"action","host":"h","container":"c","action":"kill","timeout_ms":60001}`, "timeout_ms: 60001 is above 60000"},
		{`{"id":1,"type":"refresh"}`, "token: missing"},
		{`{"id":1,"type":"refresh","token":""}`, "token: empty"},
	}
	for _, test := range tests {
		_, err := ParseRequest([]byte(test.text))
		if err == nil {
			t.Errorf("%s: taken", test.text)
			continue
		}
		if err.Code != BadRequest || err.Message != test.message {
			t.Errorf("%s:\n got %s: %s\nwant %s", test.text, err.Code, err.Message, test.message)
		}
	}
}

func TestParseRequest_RecoversTheID(t *testing.T) {
	for _, text := range []string{
		`{"id":7}`,
		`{"id":7,"type":"nonsense"}`,
		`{"type":"subscribe","topics":[{"topic":"a","last":-1}],"id":7}`,
		`{"type":"refresh","id":7,"token":{}}`,
	} {
		r, err := ParseRequest([]byte(text))
		if err == nil || !reflect.DeepEqual(r, Request{ID: 7}) {
			t.Errorf("%s: got %+v and %v, want id 7 alone and an error", text, r, err)
		}
	}
}

func TestParseRequest_TakesAnyJSON(t *testing.T) {
	for about, text := range map[string]string{
		"space everywhere":    " { \"type\" :\t\"subscribe\" ,\r\n \"id\" : 1 , \"topics\" : [ \"a.b\" , { \"topic\" : \"c\" } ] } ",
		"any order":           `{"topics":["a.b",{"topic":"c"}],"id":1,"type":"subscribe"}`,
		"escapes":             `{"t\u0079pe":"sub\u0073cribe","\u0069d":1,"topics":["a\u002eb",{"topi\u0063":"c"}]}`,
		"unknown fields":      `{"x":{"id":2,"}":"]"},"type":"subscribe","id":1,"y":[[{"a":"\\\""}]],"topics":["a.b",{"z":[1,{}],"topic":"c","w":""}],"":0}`,
		"the last key counts": `{"id":5,"type":"action","type":"subscribe","topics":7,"id":1,"topics":["a.b",{"topic":"x","topic":"c"}]}`,
		"null is absent":      `{"id":1,"type":"subscribe","token":null,"topics":["a.b",{"topic":"c","since":null,"last":null,"snapshot":null,"interval_ms":null}]}`,
	} {
		got, err := ParseRequest([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", about, err)
			continue
		}
		want := Request{Type: Subscribe, ID: 1, Topics: []Want{{Topic: "a.b", Snapshot: true}, {Topic: "c", Snapshot: true}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", about, got, want)
		}
	}
}

func TestParseRequest_DeepNestingIsHarmless(t *testing.T) {
	const depth = 30_000 // 60 KB: what fits into a message
	deep := strings.Repeat("[", depth) + strings.Repeat("]", depth)
	if _, err := ParseRequest([]byte(`{"id":1,"type":"heartbeat","x":` + deep + `}`)); err == nil {
		t.Error("nesting 30,000 deep was taken")
	}
	shallow := strings.Repeat(`[{"x":`, 1000) + "1" + strings.Repeat("}]", 1000)
	if _, err := ParseRequest([]byte(`{"id":1,"type":"heartbeat","x":` + shallow + `}`)); err != nil {
		t.Error(err)
	}
}

const fiveTopics = `{"type":"subscribe","id":1,"topics":["host.*","metrics.*","containers.*","container-stats.*",{"topic":"container-events.*","since":{"epoch":"1z8k","seq":4031}}]}`

func TestParseRequest_LeavesLittleGarbage(t *testing.T) {
	text := []byte(fiveTopics)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseRequest(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := result.AllocedBytesPerOp(); n > 1000 {
		t.Errorf("%d bytes of garbage, want at most 1,000", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	text := []byte(fiveTopics)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(text); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for name := range goldenRequests {
		f.Add(golden(f, name+".json"))
	}
	f.Add([]byte(`{"x":[{"\\":"\""}],"id":1,"type":"subscribe","topics":[{"topic":"\ud800","last":2}]}`))
	f.Add([]byte(`{"id":-1,"type":"` + strings.Repeat("é", 100) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, refused := ParseRequest(text)
		if refused != nil {
			if refused.Code != BadRequest || refused.Message == "" || len(refused.Message) > 200 || !utf8.ValidString(refused.Message) {
				t.Fatalf("refused with %q", refused)
			}
			if !reflect.DeepEqual(r, Request{ID: r.ID}) {
				t.Fatalf("refused, and yet %+v", r)
			}
			return
		}
		wrote := AppendRequest(nil, r)
		again, refused := ParseRequest(wrote)
		if refused != nil {
			t.Fatalf("wrote %s, which is refused: %v", wrote, refused)
		}
		for i := range r.Topics {
			if r.Type == Unsubscribe { // says nothing but the topic
				r.Topics[i] = Want{Topic: r.Topics[i].Topic, Snapshot: true}
			}
		}
		if !reflect.DeepEqual(r, again) {
			t.Fatalf("read %+v, wrote and read %+v", r, again)
		}
	})
}
