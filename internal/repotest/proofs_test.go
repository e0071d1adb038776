package repotest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProofsExist holds docs/proofs.md to tests and torture rows that are there.
func TestProofsExist(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			tests[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	proofs, rows := read(t, "docs/proofs.md"), read(t, "test/torture/rows.go")
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(proofs, -1) {
		if !tests[name] {
			t.Errorf("docs/proofs.md names %s, which is no test", name)
		}
	}
	_, tables, _ := strings.Cut(proofs, "\n## ")
	for _, match := range regexp.MustCompile("`([a-z0-9]+(?:-[a-z0-9]+)*)`").FindAllStringSubmatch(tables, -1) {
		if !strings.Contains(rows, `{name: "`+match[1]+`"`) {
			t.Errorf("docs/proofs.md names %s, which is no row of the torture", match[1])
		}
	}
}
