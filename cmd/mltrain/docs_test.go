package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/config"
)

// Links between the pages of the repository lead somewhere.
func TestLinksOfTheDocs(t *testing.T) {
	root := filepath.Join("..", "..")
	pages := []string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "testdata", "quickstart", "README.md")}
	more, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(more) == 0 {
		t.Fatalf("%d pages in docs, %v", len(more), err)
	}
	link := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	count := 0
	for _, page := range append(pages, more...) {
		for _, m := range link.FindAllStringSubmatch(string(read(t, page)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			count++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d links were found", count)
	}
}

// The reference of the run config is that of this source.
func TestConfigReferenceIsCurrent(t *testing.T) {
	page := string(read(t, filepath.Join("..", "..", "docs", "config.md")))
	if page != must(t, "docs", "config") {
		t.Error("docs/config.md is not what the source says; run: make docs")
	}
	for _, k := range config.Keys() {
		if !strings.Contains(page, "| `"+k+"`") {
			t.Errorf("the key %s is not in it", k)
		}
	}
}
