package repotest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/pillion-proxy/pillion"

// mayImport lists, for each package, the packages of ours that it may import outside its tests. Services (sidecar and the
// adapters) never meet but in cmd/pillion; leaves import nothing of ours. A trailing /... means everything below; "all" is all.
var mayImport = map[string][]string{
	"cmd/pillion": {"all"},

	"sidecar":            {"internal/cache", "internal/coding", "internal/head", "internal/metrics", "internal/ring", "internal/store", "sessioncodec"},
	"xds":                {"internal/metrics", "xds/server"},
	"xds/server":         {},
	"internal/memcached": {"internal/cache", "internal/metrics", "internal/ring", "internal/socket", "internal/store", "sessioncodec"},
	"internal/h1":        {"internal/acceptqueue", "internal/head", "internal/socket"},
	"internal/h2":        {"internal/head"},
	"internal/admin":     {"internal/loopback"},
	"internal/api":       {"internal/loopback"},
	"internal/config":    {},
	"internal/demo":      {"internal/head", "internal/ring"},

	"internal/store":       {"internal/ring", "sessioncodec"},
	"sessioncodec":         {},
	"internal/cache":       {},
	"internal/coding":      {},
	"internal/head":        {},
	"internal/ring":        {},
	"internal/metrics":     {},
	"internal/loopback":    {},
	"internal/acceptqueue": {},
	"internal/governor":    {},
	"internal/socket":      {},

	"internal/apptest":               {"internal/acceptqueue"},
	"internal/head/enginetest":       {"internal/head"},
	"internal/memcachedtest":         {},
	"internal/memcachedtest/memtest": {"internal/memcachedtest"},
	"internal/repotest":              {},
	"bench":                          {"all"},
	"bench/...":                      {"all"},
	"test/...":                       {"all"},
	"examples/...":                   {},
}

// onlyIn names the packages that alone may import a dependency, and why.
var onlyIn = []struct {
	dependency string
	packages   []string
	reason     string
}{
	{"github.com/bradfitz/gomemcache", []string{"internal/memcached"}, "the ring is one adapter; everything else sees sidecar.Store"},
	{"github.com/spf13/viper", []string{"internal/config"}, "viper's traps are dealt with in one place"},
	{"github.com/spf13/cobra", []string{"cmd/pillion"}, "the command tree is wiring"},
	{"github.com/klauspost/compress", []string{"internal/coding", "sessioncodec"}, "one compresses stored sessions, the other what a front sends"},
	{"github.com/go-json-experiment/json", []string{"sessioncodec"}, "session JSON is read in one place"},
	{"github.com/envoyproxy/go-control-plane", []string{"xds", "xds/server"}, "xDS is one adapter; a sidecar sees xds.Client"},
	{"google.golang.org/grpc", []string{"xds", "xds/server"}, "xDS is the only gRPC"},
	{"net/http/httputil", []string{"internal/h2"}, "the engine is an adapter; the session engine knows heads only"},
	{"github.com/summerwind/h2spec", []string{"internal/head/enginetest"}, "a library of tests that nobody keeps (docs/decisions/0016-h2spec.md)"},
	{"testing", []string{"internal/memcachedtest/memtest", "internal/head/enginetest"}, "a product binary carries no test flags"},
}

// neverImports keeps the pure packages pure.
var neverImports = map[string][]string{
	"sessioncodec":  {"net", "net/http", "os"},
	"internal/ring": {"net", "net/http", "os", "time/tzdata"},
	"sidecar":       {"net/http", "os"},
}

type pkg struct {
	Dir, ImportPath, Doc   string
	GoFiles, Imports, Deps []string
}

// name is the package's path inside the module.
func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

var packages = sync.OnceValues(func() ([]pkg, error) {
	list := exec.Command("go", "list", "-json=Dir,ImportPath,Doc,GoFiles,Imports,Deps", "./...")
	list.Dir = root
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, errors.New(stderr.String())
	}
	var all []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(p.GoFiles) > 0 { // a folder of tests alone ships nothing
			all = append(all, p)
		}
	}
})

func ours(t *testing.T) []pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImportsOfOurs(t *testing.T) {
	for _, p := range ours(t) {
		allowed, known := allowedFor(p.name())
		if !known {
			t.Errorf("%s is not in the import table: say there what it may import", p.name())
			continue
		}
		for _, imported := range p.Imports {
			if name, inside := strings.CutPrefix(imported, module+"/"); inside && !slices.Contains(allowed, "all") && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s: they meet in cmd/pillion (docs/architecture.md)", p.name(), name)
			}
		}
	}
}

func allowedFor(name string) ([]string, bool) {
	if allowed, ok := mayImport[name]; ok {
		return allowed, true
	}
	for pattern, allowed := range mayImport {
		if folder, ok := strings.CutSuffix(pattern, "..."); ok && strings.HasPrefix(name, folder) {
			return allowed, true
		}
	}
	return nil, false
}

func TestImportsOfOthers(t *testing.T) {
	for _, p := range ours(t) {
		for _, rule := range onlyIn {
			if slices.ContainsFunc(p.Imports, within(rule.dependency)) && !slices.Contains(rule.packages, p.name()) && !strings.HasPrefix(p.name(), "bench") {
				t.Errorf("%s imports %s, which only %q may: %s", p.name(), rule.dependency, rule.packages, rule.reason)
			}
		}
		for _, dependency := range neverImports[p.name()] {
			if slices.Contains(p.Imports, dependency) {
				t.Errorf("%s imports %s: it is pure", p.name(), dependency)
			}
		}
		// go-control-plane's log package imports testing for a logger of its tests, so the standard package alone proves nothing.
		for _, support := range []string{"internal/memcachedtest/memtest", "internal/head/enginetest"} {
			if p.name() == "cmd/pillion" && slices.Contains(p.Deps, module+"/"+support) {
				t.Errorf("cmd/pillion links %s, which is made for tests", support)
			}
		}
	}
}

// within tells whether an import path is the dependency or below it.
func within(dependency string) func(string) bool {
	return func(imported string) bool {
		return imported == dependency || strings.HasPrefix(imported, dependency+"/")
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range ours(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
