package images_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// image is what the Dockerfile says about the image's processes.
type image struct {
	user, build             string // build is the command that makes the binary
	entrypoint, cmd, health []string
}

func readDockerfile(t *testing.T) image {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { t.Errorf("Dockerfile: %s: %s", rule, message) }})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if last := stages[len(stages)-1]; last.BaseName != "scratch" {
		t.Errorf("the image is made from %s, want nothing in it but the binary", last.BaseName)
	}
	var i image
	for _, stage := range stages {
		for _, command := range stage.Commands {
			switch c := command.(type) {
			case *instructions.RunCommand:
				i.build = strings.Join(c.CmdLine, " ")
			case *instructions.UserCommand:
				i.user = c.User
			case *instructions.EntrypointCommand:
				i.entrypoint = c.CmdLine
			case *instructions.CmdCommand:
				i.cmd = c.CmdLine
			case *instructions.HealthCheckCommand:
				i.health = c.Health.Test
			}
		}
	}
	return i
}

func TestDockerfile(t *testing.T) {
	i := readDockerfile(t)
	for what, pair := range map[string][2]string{
		"USER":        {i.user, "65532:65532"},
		"ENTRYPOINT":  {strings.Join(i.entrypoint, " "), "/pillion"},
		"CMD":         {strings.Join(i.cmd, " "), "sidecar"},
		"HEALTHCHECK": {strings.Join(i.health, " "), "CMD /pillion health"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
		}
	}
}

// buildOnce runs the Dockerfile's build command on what .dockerignore lets through, twice, in different places.
var buildOnce sync.Once

func build(t *testing.T) {
	t.Helper()
	buildOnce.Do(func() {
		command := readDockerfile(t).build
		var made [2][]byte
		for n := range made {
			dir, out := t.TempDir(), pillion
			copyContext(t, dir)
			cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "/out/pillion", out))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "TARGETOS=", "TARGETARCH=", "VERSION=v1.2.3")
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, text)
			}
			var err error
			if made[n], err = os.ReadFile(out); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(made[0], made[1]) {
			t.Error("the same sources in two places make two binaries")
		}
	})
	if _, err := os.Stat(pillion); err != nil {
		t.Fatal(err)
	}
}

func TestBuild(t *testing.T) {
	build(t)
	out, err := exec.Command(pillion, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "pillion v1.2.3 ") {
		t.Errorf("version: %s, %v", out, err)
	}
	if out, err := exec.Command("ldd", pillion).CombinedOutput(); !strings.Contains(string(out), "not a dynamic executable") {
		t.Errorf("ldd: %s, %v: scratch has no libraries", out, err)
	}
}

// copyContext is what a builder sends: the repository without what .dockerignore names.
func copyContext(t *testing.T, to string) {
	t.Helper()
	file, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		skip, err := ignored.MatchesOrParentMatches(name)
		switch {
		case err != nil:
			return err
		case skip && entry.IsDir():
			return filepath.SkipDir
		case skip:
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(to, name), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
