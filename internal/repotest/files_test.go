package repotest

import (
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
)

const maxFileBytes = 1 << 20

// What was built has no place in the repository: nobody can read it, and everybody downloads it from then on. It may lie where .gitignore has it.
func TestNothingBuiltIsKept(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if foreign(path, entry) || slices.Contains([]string{"bin", "target", "lib", "__pycache__"}, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		ignored := path == filepath.Join(root, "pillion") || slices.Contains([]string{".test", ".prof"}, filepath.Ext(path))
		if info.Size() > maxFileBytes && !ignored {
			t.Errorf("%s: %d bytes; nothing above %d is kept", path, info.Size(), maxFileBytes)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
