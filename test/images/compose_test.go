package images_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

var composeFiles = []string{"compose.yaml", "nginx.yaml", "front.yaml"}

func loadCompose(t *testing.T, file string, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "examples/compose", file)}, cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	for _, file := range composeFiles {
		t.Run(file, func(t *testing.T) {
			for name, s := range loadCompose(t, file).Services {
				if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged || len(s.CapAdd) > 0 {
					t.Errorf("%s may do more than it needs to", name)
				}
				if s.Restart != "unless-stopped" || s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < 25*time.Second {
					t.Errorf("%s: restart %q, stop_grace_period %v", name, s.Restart, s.StopGracePeriod)
				}
				for on, dependency := range s.DependsOn {
					if s.NetworkMode == "" && on != "control-plane" && dependency.Condition != types.ServiceConditionHealthy {
						t.Errorf("%s does not wait until %s is well", name, on)
					}
				}
				if tag := s.Image[strings.LastIndex(s.Image, ":")+1:]; s.Image != "pillion" && (tag == s.Image || tag == "latest") {
					t.Errorf("%s: the image %s has no version", name, s.Image)
				}
				for variable, value := range s.Environment {
					if strings.Contains(strings.ToLower(variable), "key") && value != nil && !strings.Contains(*value, "/run/secrets/") {
						t.Errorf("%s: a key in the variable %s", name, variable)
					}
				}
			}
		})
	}
}

// The file that Envoy is started with is what the command prints.
func TestEnvoyBootstrapIsCurrent(t *testing.T) {
	build(t)
	printed, err := exec.Command(pillion, "envoy-bootstrap", "--control-plane", "control-plane:18000", "--id", "envoy").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(root, "examples/compose/envoy.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(printed, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Error("examples/compose/envoy.json is not what pillion envoy-bootstrap --control-plane control-plane:18000 --id envoy prints")
	}
}
