package sessioncodec

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const readers = "testdata/readers"

// The readers share no code with this package: what they agree on is the format, not this implementation of it.
func TestIndependentReaders(t *testing.T) {
	set := loadVectors(t)
	var lines strings.Builder
	for _, v := range set.Vectors {
		keys := make([]string, len(v.Keys))
		for i, id := range v.Keys {
			keys[i] = fmt.Sprintf("%d=%s", id, set.Keys[fmt.Sprint(id)])
		}
		if len(keys) == 0 {
			keys = []string{"-"}
		}
		fmt.Fprintf(&lines, "%s\t%s\t%s\t%d\t%s\n", v.Space, v.StorageKey, strings.Join(keys, ","), v.MaxRaw, v.Blob)
	}
	jar := readers + "/lib/aircompressor-2.0.3.jar"
	for _, reader := range []struct {
		name, needs string
		command     []string
	}{
		{"python", readers + "/venv", []string{readers + "/venv/bin/python", readers + "/reader.py"}},
		{"node", readers + "/node_modules/fzstd", []string{"node", readers + "/reader.mjs"}},
		{"java", jar, []string{"java", "-XX:TieredStopAtLevel=1", "-cp", jar, readers + "/Reader.java"}},
	} {
		t.Run(reader.name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(filepath.FromSlash(reader.needs)); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%v: run sessioncodec/%s/install.sh", err, readers)
				}
				t.Skipf("%v: run sessioncodec/%s/install.sh", err, readers)
			}
			command := exec.CommandContext(t.Context(), reader.command[0], reader.command[1:]...)
			command.Stdin, command.Stderr = strings.NewReader(lines.String()), os.Stderr
			out, err := command.Output()
			if err != nil {
				t.Fatal(err)
			}
			answers := json.NewDecoder(strings.NewReader(string(out)))
			for _, v := range set.Vectors {
				var got answer
				if err := answers.Decode(&got); err != nil {
					t.Fatalf("%s: %v", v.Name, err)
				}
				if !reflect.DeepEqual(got, v.answer) {
					t.Errorf("%s: got %s, want %s", v.Name, got, v.answer)
				}
			}
		})
	}
}

func (a answer) String() string {
	text, _ := json.Marshal(a)
	return string(text)
}
