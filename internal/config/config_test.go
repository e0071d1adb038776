package config

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// write makes a file in a directory of the test and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// minimal are the flags without which nothing starts.
var minimal = []string{"--app=shop", "--upstream=http://127.0.0.1:3000", "--ring-nodes=n1=10.100.0.20:11211,n2=10.100.0.21:11211"}

// load loads minimal and more flags, which must be right.
func mustLoad(t *testing.T, more ...string) *Config {
	t.Helper()
	c, err := Load(append(minimal[:len(minimal):len(minimal)], more...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTableIsComplete(t *testing.T) {
	for _, table := range []*table{sidecarTable, planeTable, frontTable} {
		testTable(t, table)
	}
}

func testTable(t *testing.T, table *table) {
	t.Helper()
	flags, variables := map[string]bool{configFlag: true}, map[string]bool{configEnv: true}
	for _, k := range table.keys {
		if k.help == "" || k.unit == "" || k.sample() == "" {
			t.Errorf("%s: help, unit and a default or an example are needed", k.name)
		}
		if flags[k.flag()] || variables[k.variable()] {
			t.Errorf("%s: --%s or %s names another key too", k.name, k.flag(), k.variable())
		}
		flags[k.flag()], variables[k.variable()] = true, true
		if foreign.MatchString(k.variable()) {
			t.Errorf("%s: %s would be passed over", k.name, k.variable())
		}
		for _, text := range []string{k.def, k.example} {
			if text == "" {
				continue
			}
			if err := k.set(&Config{}, k.split(text)); err != nil {
				t.Errorf("%s: its own default or example %q: %v", k.name, text, err)
			}
		}
	}
}

func TestReferenceInStep(t *testing.T) {
	const path = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Reference() {
		t.Errorf("%s is not what `pillion config reference` prints: go test ./internal/config -update", path)
	}
}
