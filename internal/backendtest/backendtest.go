// Package backendtest is the conformance suite of tensor.Backend: one list of cases for every backend.
//
// A case computes with a kernel on random data and compares with a naive float64 reference (ref.go and its neighbours),
// which the package's own tests check by finite differences. Inputs are rounded to their type before the reference sees
// them, outputs start as NaN, every tensor lies between sentinels, and gaps between strided rows must stay untouched.
package backendtest

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Case is one use of a kernel.
type Case struct {
	Kernel string // the method of tensor.Kernels, tensor.Device, tensor.Quant4Multiplier, tensor.Updater8, tensor.SharedGemm or tensor.Drafter
	Name   string
	// Prepare makes the operands in e and returns the call and the check of its results.
	Prepare func(e *Env) Job
}

// Job is a prepared call. Run may be called repeatedly; Check holds after the first.
type Job struct {
	Run   func() error
	Check func()
	Bytes int     // memory that a call must at least read and write, for benchmarks
	Flops float64 // multiplications and additions of a call, for benchmarks
}

// String names the case.
func (c Case) String() string { return c.Kernel + "/" + c.Name }

// Cases returns all cases of the suite: small and odd shapes, every option.
func Cases() []Case {
	var l list
	l.device()
	l.gemm()
	l.elementwise()
	l.reduce()
	l.norms()
	l.rope()
	l.rows()
	l.attention()
	l.crossEntropy()
	l.dequant()
	l.blocks8()
	l.optimisers()
	return l.cases
}

type list struct{ cases []Case }

func (l *list) add(kernel string, prepare func(e *Env) Job, format string, args ...any) {
	l.cases = append(l.cases, Case{kernel, fmt.Sprintf(format, args...), prepare})
}

// activations are the types that activations have.
var activations = []tensor.DType{tensor.F32, tensor.BF16}

// RunAll runs every case on b, with those of tensor.Quant4Multiplier, tensor.Updater8, tensor.SharedGemm and tensor.Drafter if it is one, and fails if a method of tensor.Kernels has none.
func RunAll(t *testing.T, b tensor.Backend) {
	seen := map[string]bool{}
	cases := Cases()
	var more list
	if m, ok := b.(tensor.Quant4Multiplier); ok {
		more.fewRows(m.MulQuant4Rows)
	}
	if _, ok := b.(tensor.Updater8); ok {
		more.updates8()
	}
	if _, ok := b.(tensor.SharedGemm); ok {
		more.gemmShared()
	}
	if d, ok := b.(tensor.Drafter); ok {
		more.drafts(d.DraftRows(false))
	}
	cases = append(cases, more.cases...)
	for _, c := range cases {
		seen[c.Kernel] = true
		t.Run(c.String(), func(t *testing.T) {
			e := NewEnv(t, b, c.String())
			defer e.Free()
			j := c.Prepare(e)
			if err := j.Run(); err != nil {
				t.Fatal(err)
			}
			j.Check()
			e.CheckSentinels()
		})
	}
	t.Run("Shifted", func(t *testing.T) { runShifted(t, b, cases) })
	for _, m := range methods() {
		if !seen[m] {
			t.Errorf("method %s has no case", m)
		}
	}
	t.Run("Errors", func(t *testing.T) { runErrors(t, b) })
}

// runShifted runs a few small cases of every kernel with operands that begin one element later: the results must hold, and be the
// same to the bit, however a backend reads what is aligned. Products and attention may sum in another order.
func runShifted(t *testing.T, b tensor.Backend, cases []Case) {
	const (
		every = 11      // cases of a kernel
		most  = 1 << 14 // bytes of one
	)
	reorders := map[string]bool{"Gemm": true, "MulQuant4": true, "Attention": true, "AttentionBwd": true}
	n := map[string]int{}
	for _, c := range cases {
		outputs := func(t *testing.T, shift int) []byte {
			e := NewEnv(t, b, c.String())
			defer e.Free()
			e.Shift = shift
			j := c.Prepare(e)
			if j.Bytes > most {
				return nil
			}
			if err := j.Run(); err != nil {
				t.Fatal(err)
			}
			results := e.Outputs()
			if shift != 0 {
				j.Check()
				e.CheckSentinels()
			}
			return results
		}
		if n[c.Kernel]++; n[c.Kernel]%every != 1 {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			if got, want := outputs(t, 1), outputs(t, 0); !reorders[c.Kernel] && !bytes.Equal(got, want) {
				t.Error("operands that begin elsewhere change the bits of the results")
			}
		})
	}
}

// methods returns the names of tensor.Kernels' methods.
func methods() []string {
	var names []string
	for m := range reflect.TypeFor[tensor.Kernels]().Methods() {
		names = append(names, m.Name)
	}
	return names
}

// Bench times the kernels of b at the shapes of a small model's training step.
func Bench(b *testing.B, backend tensor.Backend) {
	for _, c := range benchCases() {
		b.Run(c.String(), func(b *testing.B) {
			e := NewEnv(b, backend, c.String())
			defer e.Free()
			j := c.Prepare(e)
			if err := j.Run(); err != nil {
				b.Fatal(err)
			}
			if err := backend.Sync(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(j.Bytes))
			b.ReportAllocs()
			for b.Loop() {
				if err := j.Run(); err != nil {
					b.Fatal(err)
				}
			}
			if err := backend.Sync(); err != nil {
				b.Fatal(err)
			}
			if j.Flops > 0 {
				b.ReportMetric(j.Flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			}
		})
	}
}
