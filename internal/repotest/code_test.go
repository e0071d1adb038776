package repotest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository as seen from this package.
const root = "../.."

const (
	maxFileLines = 400
	maxFuncLines = 70
)

// source is one Go file of the repository.
type source struct {
	path  string // relative to root, with slashes
	lines int
	set   *token.FileSet
	file  *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources reads every Go file of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if foreign(path, entry) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(relative), bytes.Count(text, []byte("\n")), set, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// foreign tells whether a folder holds no source of ours.
func foreign(path string, entry fs.DirEntry) bool {
	name := entry.Name()
	return entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata")
}

func TestLengths(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > maxFileLines {
			t.Errorf("%s has %d lines, at most %d: split it by noun", s.path, s.lines, maxFileLines)
		}
		if s.isTest() {
			continue
		}
		for _, declaration := range s.file.Decls {
			fn, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			start, end := s.set.Position(fn.Pos()).Line, s.set.Position(fn.End()).Line
			if lines := end - start + 1; lines > maxFuncLines {
				t.Errorf("%s:%d: %s has %d lines, at most %d", s.path, start, fn.Name.Name, lines, maxFuncLines)
			}
		}
	}
}

// A sleeping test is slow on a fast machine and wrong on a slow one: poll with a deadline, or use testing/synctest, in whose
// bubble a sleep takes no time.
func TestNoSleepInTests(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if isCall(call, "time", "Sleep") {
				t.Errorf("%s: time.Sleep in a test", s.set.Position(call.Pos()))
			}
			return !isCall(call, "synctest", "Test")
		})
	}
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func TestGoModReplacesNothing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && (fields[0] == "replace" || fields[0] == "exclude") {
			t.Errorf("go.mod: %q: `go install` of this module would fail or build something else", strings.TrimSpace(line))
		}
	}
}
