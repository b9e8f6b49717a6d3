package kernels

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func sources(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.cu")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	return files
}

// Each embedded PTX must name the hash of the source that lies beside it: whoever edits a kernel runs make ptx.
func TestHashes(t *testing.T) {
	texts, err := PTX()
	if err != nil {
		t.Fatal(err)
	}
	include := regexp.MustCompile(`(?m)^#include "(.*)"$`)
	files := sources(t)
	if len(files) != len(texts) {
		t.Errorf("%d sources, %d compiled", len(files), len(texts))
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, header := range include.FindAllSubmatch(src, -1) {
			raw, err := os.ReadFile(string(header[1]))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, raw...)
		}
		sum := sha256.Sum256(append(all, src...))
		want := "// source: " + f + "\n// sha256 of headers and source: " + hex.EncodeToString(sum[:]) + "\n"
		if !strings.HasPrefix(texts[strings.TrimSuffix(f, ".cu")], want) {
			t.Errorf("ptx of %s is not of this source: run make ptx", f)
		}
	}
}

// The pinned compiler must reproduce the PTX byte for byte.
func TestReproducible(t *testing.T) {
	version, err := exec.Command("clang-19", "--version").Output()
	if err != nil || !strings.Contains(string(version), "19.1.7") {
		t.Skip("clang 19.1.7 is not installed")
	}
	dir := t.TempDir()
	if out, err := exec.Command("./build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range sources(t) {
		name := strings.TrimSuffix(f, ".cu") + ".ptx"
		want, err := os.ReadFile(filepath.Join("ptx", name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what clang makes of %s (%v): run make ptx", name, f, err)
		}
	}
}

// No kernel may spill or index its registers: local memory is slow.
func TestNoLocalMemory(t *testing.T) {
	texts, err := PTX()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		if strings.Contains(text, "__local_depot") {
			t.Errorf("%s uses local memory", name)
		}
	}
}
