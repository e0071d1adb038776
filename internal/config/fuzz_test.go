package config

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzFile: no file makes Load panic, and what is right is the same after print.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		reloadYAML,
		"a: &a {idle: 5m}\nsession: *a\n",
		"session:\n  <<: {idle: 5m}\n  ignore: |\n    ^/a,b\n",
		"1: 2\n? [x]\n: y\n",
		"ring: {nodes: [{a: b}, [c], null]}\nkeys: [{id: 1, file: p, use: seal}]\n",
		"app: 2026-11-24\nlisten: {}\n",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "p.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load([]string{"--config", path}, nil)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := c.Print(&out); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load([]string{"--config", path}, nil)
		if err != nil || again.Hash() != c.Hash() {
			t.Errorf("after print: %v\n%s", err, out.String())
		}
	})
}
