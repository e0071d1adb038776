package repotest

import (
	"regexp"
	"strings"
	"testing"
)

var (
	settingRow = regexp.MustCompile("(?m)^\\| `([a-z_.]+)`")
	ownFlag    = regexp.MustCompile(`Var\(&[\w.]+, "([a-z-]+)"`)
	ourFlag    = regexp.MustCompile(`--([a-z][a-z-]+)`)
	setting    = regexp.MustCompile("`([a-z_]+(?:\\.[a-z_]+)+)`")
	chapters   = []string{"ring.", "session.", "limits.", "log.", "tls.", "app_auth.", "api.", "control_plane_tls."}
)

// docs/configuration.md is made from the code, so what it lists exists: the flags and settings that other documents name must be there. Flags of
// a command that takes no settings are in its file.
func TestDocumentsNameRealSettings(t *testing.T) {
	settings, flags := map[string]bool{}, map[string]bool{"config": true, "help": true}
	for _, m := range settingRow.FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		settings[m[1]] = true
		flags[strings.NewReplacer(".", "-", "_", "-").Replace(m[1])] = true
	}
	for _, m := range ownFlag.FindAllStringSubmatch(read(t, "cmd/pillion/front.go"), -1) {
		flags[m[1]] = true
	}
	if len(settings) == 0 {
		t.Fatal("docs/configuration.md lists no setting")
	}
	for _, s := range sources(t) { // of commands with flags of their own
		if strings.HasPrefix(s.path, "cmd/pillion/") && !s.isTest() {
			for _, m := range ownFlag.FindAllStringSubmatch(read(t, s.path), -1) {
				flags[m[1]] = true
			}
		}
	}
	for _, path := range []string{"README.md", "docs/header-contract.md", "docs/operations.md", "docs/failure-modes.md"} {
		text := read(t, path)
		for _, m := range ourFlag.FindAllStringSubmatch(text, -1) {
			if !flags[m[1]] {
				t.Errorf("%s names the flag --%s, which does not exist", path, m[1])
			}
		}
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			for _, chapter := range chapters {
				if strings.HasPrefix(m[1], chapter) && !settings[m[1]] {
					t.Errorf("%s names the setting %s, which does not exist", path, m[1])
				}
			}
		}
	}
}
