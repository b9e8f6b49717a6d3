package cpu

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
)

// Results are the same bits with any number of threads.
func TestThreadsDoNotChangeResults(t *testing.T) {
	b := New()
	run := func(c backendtest.Case, procs int) []byte {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		return outputs(t, b, c)
	}
	for _, c := range backendtest.Cases() {
		one := run(c, 1)
		for _, procs := range []int{2, 3} {
			if !bytes.Equal(one, run(c, procs)) {
				t.Errorf("%v: %d threads give other bits than one", c, procs)
			}
		}
	}
}

// Kernels with loops on bfloat16 give the bits that conversions around the loops in float32 give.
func TestBF16LoopsDoNotChangeResults(t *testing.T) {
	direct, converting := New(), New()
	v := converting.v
	v.AddBF16, v.SwiGLUBF16, v.SwiGLUBwdBF16, v.RotateBF16, v.AdamWBF16 = nil, nil, nil, nil, nil
	for _, c := range backendtest.Cases() {
		if !bytes.Equal(outputs(t, direct, c), outputs(t, converting, c)) {
			t.Errorf("%v: other bits than with conversions", c)
		}
	}
}

func outputs(t *testing.T, b *Backend, c backendtest.Case) []byte {
	t.Helper()
	e := backendtest.NewEnv(t, b, c.String())
	defer e.Free()
	if err := c.Prepare(e).Run(); err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return e.Outputs()
}
