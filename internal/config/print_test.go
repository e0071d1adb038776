package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// TestPrintIsAFile: what print shows is a file that says the same.
func TestPrintIsAFile(t *testing.T) {
	key := write(t, "key", canary)
	c := mustLoad(t, "--session-ignore=^/a,b$", `--session-ignore=\.(ico|png)$ # "x": y`, "--keys=id=1,file="+key+",use=seal",
		"--sticky=false", "--space=true", "--ring-local-nodes=none", "--session-cookie=~", "--route=123")
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	again, err := Load([]string{"--config", write(t, "p.yaml", out.String())}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, k := range sidecarTable.keys {
		if got, want := again.settings[k.name].values, c.settings[k.name].values; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %q after print, want %q", k.name, got, want)
		}
	}
	if again.Hash() != c.Hash() {
		t.Error("the hash differs")
	}
	for _, want := range []string{"app: shop # flag --app\n", "listen: :8080 # default\n", "sticky: false # flag --sticky\n", `unknown: "503" # default` + "\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("print does not show %q:\n%s", want, out.String())
		}
	}
}
