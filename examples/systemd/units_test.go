// Package systemd_test has systemd itself read the units.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var units = map[string]string{ // and the name that they are checked under
	"pillion@.service": "pillion@shop.service", "pillion-front.service": "pillion-front.service", "pillion-control-plane.service": "pillion-control-plane.service",
}

// systemd-analyze finds keys it does not know, values it does not understand and programs that are not there, and rates what a unit may do: 10 is
// everything, 2 is as little as a network service needs.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	program, err := os.Executable() // one that exists; nothing is started
	if err != nil {
		t.Fatal(err)
	}
	for file, name := range units {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			unit := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/pillion", program)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("verify: %v\n%s", err, out)
			}
			if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit).CombinedOutput(); err != nil {
				t.Errorf("security: %v\n%s", err, out)
			}
		})
	}
}
