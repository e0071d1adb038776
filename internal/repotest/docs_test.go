package repotest

import (
	"go/ast"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/metrics"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	goFile   = regexp.MustCompile("`?([a-z0-9_/]+\\.go)`?")
	declared = regexp.MustCompile(`^(?:\(?\*?([A-Za-z_]\w*)\)?\.)?([A-Za-z_]\w*)(?:\(\))?$`)
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// In these documents a line that names a Go file may go on with functions or types of it: after a colon, separated by commas
// (sidecar/handler.go: (*Handler).Request, finish), or each in backquotes, as in the row of a table. All of them must exist.
func TestArchitectureNamesRealCode(t *testing.T) {
	names := map[string]map[string]bool{}
	for _, s := range sources(t) {
		names[s.path] = declarations(s.file)
	}
	for _, document := range []string{"docs/architecture.md", "docs/engine.md"} {
		testNames(t, document, names)
	}
}

func testNames(t *testing.T, document string, names map[string]map[string]bool) {
	checked := 0
	for line := range strings.Lines(read(t, document)) {
		at := goFile.FindStringSubmatchIndex(line)
		if at == nil {
			continue
		}
		path := line[at[2]:at[3]]
		known := names[path]
		if known == nil {
			t.Errorf("%s: there is no %s", document, path)
			continue
		}
		for _, name := range namedAfter(line[at[1]:]) {
			checked++
			if m := declared.FindStringSubmatch(name); !known[m[2]] && !known[m[1]+"."+m[2]] {
				t.Errorf("%s: %s has no %s", document, path, name)
			}
		}
	}
	if checked == 0 {
		t.Errorf("%s names no function: the way of a request belongs there", document)
	}
}

// namedAfter returns the names that follow a file in a line.
func namedAfter(rest string) (found []string) {
	var words []string
	if list, ok := strings.CutPrefix(strings.TrimSpace(rest), ":"); ok {
		for _, item := range strings.Split(list, ",") {
			if fields := strings.Fields(item); len(fields) > 0 {
				words = append(words, strings.Trim(fields[0], "`"))
			}
		}
	} else {
		for _, m := range quoted.FindAllStringSubmatch(rest, -1) {
			words = append(words, m[1])
		}
	}
	for _, word := range words {
		if declared.MatchString(word) {
			found = append(found, word)
		}
	}
	return found
}

// declarations returns the top-level names of a file; a method as Type.Method and as Method.
func declarations(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names[d.Name.Name] = true
			if d.Recv != nil {
				names[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names[name.Name] = true
					}
				}
			}
		}
	}
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// recorder is a Registerer that notes names.
type recorder map[string]bool

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (r recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 1)
	go func() { defer close(descs); c.Describe(descs) }()
	for d := range descs {
		r[fqName.FindStringSubmatch(d.String())[1]] = true
	}
	return nil
}

func (r recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = r.Register(c)
	}
}

func (r recorder) Unregister(prometheus.Collector) bool { return false }

func TestOperationsListsEveryMetric(t *testing.T) {
	registered := recorder{}
	metrics.NewProcess(registered, "", func() bool { return true })
	maps.DeleteFunc(registered, func(name string, _ bool) bool { return !strings.HasPrefix(name, "pillion_") }) // Go's own
	metrics.New(registered)
	metrics.NewControlPlane(registered)
	metrics.NewFront(registered)
	metrics.NewFollower(registered)
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile(`\bpillion_[a-z_]+`).FindAllString(read(t, "docs/operations.md"), -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		documented[name] = true
		if !registered[name] {
			t.Errorf("docs/operations.md names %s, which does not exist", name)
		}
	}
	for name := range registered {
		if !documented[name] {
			t.Errorf("docs/operations.md does not explain %s", name)
		}
	}
}

func TestDependenciesAreDecided(t *testing.T) {
	decision := read(t, "docs/decisions/0001-dependencies.md")
	for line := range strings.Lines(read(t, "go.mod")) {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") && !strings.Contains(decision, fields[0]) {
			t.Errorf("%s is a direct dependency without a row in docs/decisions/0001-dependencies.md", fields[0])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if foreign(path, entry) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
