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
		e := backendtest.NewEnv(t, b, c.String())
		defer e.Free()
		if err := c.Prepare(e).Run(); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		return e.Outputs()
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
