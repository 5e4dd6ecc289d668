//go:build linux

package chaos

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every test that the page of guarantees names exists, and every scenario here stands on it.
func TestGuarantees_NameTestsThatExist(t *testing.T) {
	const root = "../../../.."
	page, err := os.ReadFile(filepath.Join(root, "edge", "GUARANTEES.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(page), -1) {
		named[match[1]] = true
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	exists := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{"node_modules", ".git"}, entry.Name()):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			exists[match[1]] = true
			if filepath.Dir(path) == filepath.Join(root, "cmd/internal/e2e/chaos") && strings.Contains(match[1], "LoseNothing") && !named[match[1]] {
				t.Errorf("%s is not on the page", match[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) < 20 {
		t.Errorf("the page names %d tests", len(named))
	}
	for name := range named {
		if !exists[name] {
			t.Errorf("there is no %s", name)
		}
	}
}
