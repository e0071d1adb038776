package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// early builds the sidecar again with a package time whose wall clock is ten minutes ahead: Go programs ask the kernel themselves, so that libfaketime does
// not reach them, and the kernel has namespaces for the monotonic clock alone.
func (p *programs) early() (string, error) {
	const now, later = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {", "\tsec, nsec, mono := runtimeNow()\n\tsec += 600\n\tif mono == 0 {"
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), now) != 1 {
		return "", errors.New(source + ": time.Now is not what it was in Go 1.26: adapt test/torture/clock.go")
	}
	changed, overlay, program := filepath.Join(p.dir, "time.go.txt"), filepath.Join(p.dir, "overlay.json"), filepath.Join(p.dir, "pillion-early")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		return "", err
	}
	err = errors.Join(os.WriteFile(changed, []byte(strings.Replace(string(text), now, later, 1)), 0o600), os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, "github.com/pillion-proxy/pillion/cmd/pillion").CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return program, nil
}

// clockAhead: the clock of a2 is ten minutes ahead while visitors count, log in and out, and each sidecar is killed once.
func clockAhead(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	for _, s := range t.sidecars {
		t.wait(3 * time.Second)
		s.kill()
		t.wait(3 * time.Second)
		t.restart(s)
		for _, v := range t.visitors(20) {
			last := v.cookie
			if _, outcome := v.send("POST", "/logout"); outcome == acknowledged {
				for _, s := range t.sidecars {
					v.expectEnded(s.address, last, last)
				}
			}
		}
	}
	t.wait(3 * time.Second)
	stop()
	t.audit(all)
}
