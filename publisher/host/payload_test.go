package host

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
	"time"
)

// The key paths of real output are those of the documented payloads: from the
// made host, where everything is known, all of them; from the machine that the
// test runs on, no others.
func TestPayloads_KeyForKeyAsDocumented(t *testing.T) {
	m := newMachine(t)
	made, err := New(m.config())
	if err != nil {
		t.Fatal(err)
	}
	source := m.metrics()
	made[0] = source
	real, err := New(Config{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"metrics", "host"} {
		text, err := os.ReadFile("testdata/payloads/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var document any
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatal(err)
		}
		documented := keys(document)

		mustBeat[any](t, made[i]) // rates need two
		m.write("proc/stat", "cpu  1100 100 500 8000 200 50 50 100\ncpu0 700 50 300 3900 100 25 25 50\ncpu1 500 50 200 4100 100 25 25 50\nbtime 1790000000\n")
		source.processes.next = time.Time{}
		if got := keys(mustBeat[any](t, made[i])); !slices.Equal(got, documented) {
			t.Errorf("%s: the made host has the keys\n%v, documented are\n%v", name, got, documented)
		}
		_, _ = beat[any](t, real[i])
		time.Sleep(50 * time.Millisecond) // for the kernel's counters to move, not for a goroutine
		payload, err := beat[any](t, real[i])
		if err != nil {
			t.Logf("%s: %v", name, err)
		}
		for _, key := range keys(payload) {
			if !slices.Contains(documented, key) {
				t.Errorf("%s: this machine has %s, which is not documented", name, key)
			}
		}
	}
}

// keys are the paths of all keys in a JSON value, sorted; list items are [].
func keys(value any) []string {
	found := map[string]bool{}
	var walk func(prefix string, value any)
	walk = func(prefix string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for key, child := range v {
				found[prefix+"."+key] = true
				walk(prefix+"."+key, child)
			}
		case []any:
			for _, child := range v {
				walk(prefix+"[]", child)
			}
		}
	}
	walk("", value)
	return slices.Sorted(maps.Keys(found))
}
