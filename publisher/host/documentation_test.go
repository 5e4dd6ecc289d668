package host

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Every field of the payloads that this package makes has its line in the
// documentation, and so its names in OpenTelemetry and node_exporter.
func TestDocumentation_NamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../PAYLOADS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"metrics", "host"} {
		_, section, found := strings.Cut(string(text), "## `"+name+".<host>`")
		if !found {
			t.Fatalf("no section on %s", name)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		example, err := os.ReadFile("testdata/payloads/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var payload any
		if err := json.Unmarshal(example, &payload); err != nil {
			t.Fatal(err)
		}
		all := keys(payload)
		for i, key := range all {
			if i+1 < len(all) && (strings.HasPrefix(all[i+1], key+".") || strings.HasPrefix(all[i+1], key+"[]")) {
				continue // what it holds has the lines
			}
			if !strings.Contains(section, "| `"+strings.TrimPrefix(key, ".")+"` |") {
				t.Errorf("%s: no line on %s", name, key)
			}
		}
	}
}
