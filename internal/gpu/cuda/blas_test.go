//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/gpu/cuda/fakecuda"
)

// aligned are the products that a library is asked for: of bfloat16, with rows that begin at multiples of 16 bytes. In those with
// two matrices of float32 the bias is bfloat16: they are left to our own kernel.
func aligned() []backendtest.Case {
	var cases []backendtest.Case
	library := regexp.MustCompile(`^\[(bfloat16 bfloat16 bfloat16\]/aligned .*|float32 bfloat16 bfloat16\]/aligned .*=[13])$`)
	for _, c := range backendtest.Cases() {
		if c.Kernel == "Gemm" && library.MatchString(c.Name) {
			cases = append(cases, c)
		}
	}
	return cases
}

// Products by cuBLASLt: every layout, batches, gaps between rows, bias, factors. The stand-in's own kernels do nothing, its
// cuBLASLt multiplies what it was told to: a wrong description, leading dimension or pointer gives a wrong result.
func TestLibraryMultiplies(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if !hasFake() {
		withFake(t, fakecuda.EnvLog+"="+log, withBLAS)
		return
	}
	d := open(t)
	if info := d.Info(); info.Total-info.Free != blasRoom {
		t.Errorf("%d bytes are taken, want the library's %d", info.Total-info.Free, blasRoom)
	}
	b, err := gpu.New(d)
	if err != nil {
		t.Fatal(err)
	}
	cases := aligned()
	if len(cases) < 20 {
		t.Fatalf("%d cases", len(cases))
	}
	for range 2 { // the second time as it was prepared
		for _, c := range cases {
			t.Run(c.String(), func(t *testing.T) {
				e := backendtest.NewEnv(t, b, c.String())
				defer e.Free()
				j := c.Prepare(e)
				if err := j.Run(); err != nil {
					t.Fatal(err)
				}
				j.Check()
				e.CheckSentinels()
			})
		}
	}
	calls := logged(t)
	if n := len(regexp.MustCompile(`(?m)^matmul `).FindAllString(calls, -1)); n != 2*len(cases) || strings.Contains(calls, "gemm_mma") {
		t.Errorf("%d products by the library of %d", n, 2*len(cases))
	}
	for _, want := range []string{"matmul nn", "matmul nt", "matmul tn", "matmul tt", "batch 3", " f32", " bf16 bias"} {
		if !strings.Contains(calls, want) {
			t.Errorf("no %q among the products", want)
		}
	}
	if plans := len(d.(*driver).blas.plans); plans == 0 || plans > len(cases) {
		t.Errorf("%d plans for %d shapes", plans, len(cases))
	}
}

func logged(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(os.Getenv(fakecuda.EnvLog))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(raw))
}

// What the library has no algorithm for, or must not do, is left to our own kernel.
func TestOwnProducts(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if !hasFake() {
		withFake(t, fakecuda.EnvLog+"="+log, withBLAS, fakecuda.EnvRefuse+"=1")
		return
	}
	for _, o := range []Options{{}, {OwnProducts: true}} {
		d, err := Open(0, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := gpu.New(d)
		if err != nil {
			t.Fatal(err)
		}
		c := aligned()[0]
		e := backendtest.NewEnv(t, b, c.String())
		if err := c.Prepare(e).Run(); err != nil {
			t.Fatal(err)
		}
		e.Free()
	}
	if calls := logged(t); strings.Count(calls, "launch gemm_mma_") != 2 || strings.Contains(calls, "matmul") {
		t.Errorf("got\n%s", calls)
	}
}

func TestFindLibrary(t *testing.T) {
	if !hasFake() {
		withFake(t, withBLAS)
		return
	}
	if l := FindLibrary(); l != (Library{File: "libcublasLt.so.12", Version: "12.4.1"}) {
		t.Errorf("got %+v", l)
	}
}

func TestNoLibrary(t *testing.T) {
	if !hasFake() {
		withFake(t)
		return
	}
	if l := FindLibrary(); l.File != "" || !strings.Contains(l.Problem, "libcublasLt.so is not installed") {
		t.Skipf("this machine has it: %+v", l)
	}
	if d := open(t).(*driver); d.blas != nil || d.lt.Problem == "" {
		t.Errorf("got %+v", d.lt)
	}
}
