package repotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const maxFileBytes = 1 << 20

// What was built has no place in the repository: nobody can read it, and everybody downloads it from then on.
func TestNothingBuiltIsKept(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("not a checkout: what is kept is not known")
	}
	list := exec.Command("git", "ls-files", "-z")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(root, name))
		if err == nil && info.Size() > maxFileBytes {
			t.Errorf("%s: %d bytes; nothing above %d is kept", name, info.Size(), maxFileBytes)
		}
	}
}
