// Package arrows_test holds the walls of the house: which package may import
// which (docs/adr/0001), and a few rules about the code of all of them.
package arrows_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mltrain/mltrain/"

// arrows lists the packages of ours that each package may import; what those
// may import is allowed with them. A path that ends in /... stands for
// everything below it. A package that is not listed here fails the test: give
// it a place first.
func arrows() map[string][]string {
	return map[string][]string{
		"cmd/mltrain": {"internal/..."},

		// The engine.
		"internal/train":    {"internal/model", "internal/plan", "internal/data", "internal/checkpoint", "internal/config", "internal/tensorboard"},
		"internal/eval":     {"internal/infer", "internal/data"},
		"internal/infer":    {"internal/model"},
		"internal/model":    {"internal/nn"},
		"internal/nn":       {"internal/autograd", "internal/quant"},
		"internal/plan":     {"internal/tensor"},
		"internal/profile":  {"internal/tensor"},
		"internal/bench":    {"internal/train", "internal/infer", "internal/profile"},
		"internal/verify":   {"internal/train"},
		"internal/autograd": {"internal/tensor"},
		"internal/tensor":   {},
		"internal/quant":    {},

		// Files, text and settings.
		"internal/data":        {"internal/tokenizer", "internal/template"},
		"internal/checkpoint":  {"internal/quant", "internal/tensor"},
		"internal/tokenizer":   {},
		"internal/template":    {},
		"internal/config":      {},
		"internal/hub":         {},
		"internal/ui":          {},
		"internal/tensorboard": {},

		// Backends, which only cmd/mltrain and tests import.
		"internal/cpu":         {"internal/quant", "internal/tensor"},
		"internal/gpu":         {"internal/quant", "internal/tensor", "kernels"},
		"internal/backendtest": {"internal/quant", "internal/tensor"},
		"kernels":              {},
	}
}

// allowed follows the arrows to everything that a package may import.
func allowed(from string) []string {
	all := arrows()
	var out []string
	var follow func(p string)
	follow = func(p string) {
		for _, to := range all[p] {
			if !slices.Contains(out, to) {
				out = append(out, to)
				follow(to)
			}
		}
	}
	follow(from)
	return out
}

// packageOf is the entry of arrows that governs a directory: its own, or that
// of the nearest directory above it.
func packageOf(dir string) string {
	all := arrows()
	for d := dir; d != "." && d != ""; d = filepath.ToSlash(filepath.Dir(d)) {
		if _, ok := all[d]; ok {
			return d
		}
	}
	return ""
}

func matches(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

// source is a Go file of the module that is no test.
type source struct {
	path string // from the root of the module
	dir  string
	tree *ast.File
	fset *token.FileSet
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// sources parses every file, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	root := os.DirFS("..")
	var out []source
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != "." && (name == "testdata" || name == "tools" || path == "bench" || path == "runs" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{path: path, dir: filepath.ToSlash(filepath.Dir(path)), tree: tree, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found only %d source files", len(out))
	}
	return out
}

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		from := packageOf(s.dir)
		if from == "" {
			t.Errorf("%s: directory %s has no place among the packages; add it to the list in this test and to docs/adr/0001", s.path, s.dir)
			continue
		}
		for _, imp := range s.tree.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, module)
			if !ours || packageOf(to) == from {
				continue
			}
			may := allowed(from)
			if !slices.ContainsFunc(may, func(p string) bool { return matches(p, to) }) {
				t.Errorf("%s: %s must not import %s (it may import: %s)", s.at(imp), s.dir, to, strings.Join(may, ", "))
			}
		}
	}
}

// TestOnlyMainExits holds that no package ends the process behind its caller's
// back, and that none acts before main does.
func TestOnlyMainExits(t *testing.T) {
	for _, s := range sources(t) {
		if s.path == "cmd/mltrain/main.go" {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: init functions are not allowed; do it where it is needed", s.at(n))
				}
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				switch pkg.Name + "." + n.Sel.Name {
				case "os.Exit", "syscall.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf":
					t.Errorf("%s: only main ends the process; return an error instead of calling %s.%s", s.at(n), pkg.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestInputNeverPanics holds that the packages which meet files, flags and
// networks return errors. Below them a contradiction in shapes is a mistake in
// this program, and panics; the tape turns those of its operations into errors.
func TestInputNeverPanics(t *testing.T) {
	returnErrors := []string{
		"cmd/mltrain", "internal/config", "internal/data", "internal/tokenizer", "internal/template", "internal/checkpoint",
		"internal/hub", "internal/ui", "internal/eval", "internal/infer", "internal/train", "internal/quant",
	}
	for _, s := range sources(t) {
		if !slices.Contains(returnErrors, packageOf(s.dir)) {
			continue
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
					t.Errorf("%s: %s must return an error instead of panicking", s.at(n), s.dir)
				}
			}
			return true
		})
	}
}
