package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each embedded PTX names the hash of the source that it was compiled from.
func TestPTXBelongsToItsSource(t *testing.T) {
	texts, err := PTX()
	if err != nil {
		t.Fatal(err)
	}
	common, err := os.ReadFile("common.cuh")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.cu")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	for _, name := range sources {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append(append([]byte{}, common...), src...))
		if !strings.Contains(texts[strings.TrimSuffix(name, ".cu")], "sha256 of common.cuh and source: "+hex.EncodeToString(sum[:])) {
			t.Errorf("%s: its PTX is missing or older than it; run kernels/build.sh", name)
		}
	}
	if len(texts) != len(sources) {
		t.Errorf("%d PTX files for %d sources", len(texts), len(sources))
	}
}

// Where the pinned compiler is installed, it makes the same PTX again, byte for byte.
func TestPTXIsReproduced(t *testing.T) {
	version, err := exec.Command("clang-19", "--version").Output()
	if err != nil || !strings.Contains(string(version), "19.1.7") {
		t.Skip("clang 19.1.7 is not installed: only the hashes of the sources are checked")
	}
	dir := t.TempDir()
	if out, err := exec.Command("sh", "build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	texts, err := PTX()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range texts {
		got, err := os.ReadFile(filepath.Join(dir, name+".ptx"))
		if err != nil || string(got) != want {
			t.Errorf("%s: the compiler makes other PTX than is embedded (%v)", name, err)
		}
	}
}
