package edge

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"
)

// The page, the files of defaults, the closed list and the defaults of Config name the same limits with the same values.
func TestLimitsPage_SaysWhatIs(t *testing.T) {
	page, err := os.ReadFile("LIMITS.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(string(page), -1) {
		defaults[row[1]] = row[2]
	}
	if len(defaults) != len(limits) {
		t.Errorf("the page has %d limits, the list %d", len(defaults), len(limits))
	}
	for _, l := range limits {
		if defaults[string(l)] == "" {
			t.Errorf("the page has no row for %s", l)
		}
	}
	for _, file := range []string{"edge.yaml", "tidings.yaml"} {
		text, err := os.ReadFile("../configs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]any
		if err := yaml.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		section := config["limits"].(map[string]any)
		for _, l := range limits {
			value, ok := section[string(l)]
			if l == limitHandshakeTimeout {
				value, ok = config[string(l)]
			}
			switch {
			case !ok:
				t.Errorf("%s has no %s", file, l)
			case file == "tidings.yaml" && l == limitConnections: // on somebody's desk
			case fmt.Sprint(value) != defaults[string(l)]:
				t.Errorf("%s has %v for %s, the page %s", file, value, l, defaults[string(l)])
			}
		}
		for key := range section {
			if !slices.Contains(limits, limit(key)) && key != "recent" && key != "recent_bytes" {
				t.Errorf("%s is in %s and not in the list", key, file)
			}
		}
	}
	withDefaults := reflect.ValueOf(Config{}.withDefaults().Limits)
	for i := range withDefaults.NumField() {
		key := strings.ToLower(regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(withDefaults.Type().Field(i).Name, "${1}_$2"))
		if key == "recent" || key == "recent_bytes" {
			continue
		}
		want := strings.Replace(defaults[key], "KiB", " << 10", 1)
		if n := withDefaults.Field(i).Int(); want != fmt.Sprint(n) && want != fmt.Sprintf("%d << 10", n>>10) {
			t.Errorf("Config has %d for %s, the page %s", n, key, defaults[key])
		}
	}
}
