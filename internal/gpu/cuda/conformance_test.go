//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/gpu"
)

// Every kernel on the GPU of this machine, against float64 references.
func TestConformance(t *testing.T) {
	d, err := Open(0, Options{})
	if errors.Is(err, ErrNoDevice) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := gpu.New(d)
	if err != nil {
		t.Fatal(err)
	}
	backendtest.RunAll(t, b)
}
