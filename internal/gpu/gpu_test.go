package gpu

import (
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/tensor"
)

func emulated(t testing.TB) tensor.Backend {
	t.Helper()
	b, err := NewEmulator()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every kernel, in the interpreter, against float64 references.
func TestConformance(t *testing.T) { backendtest.RunAll(t, emulated(t)) }
