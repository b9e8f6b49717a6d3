package gpu

import (
	testflag "flag"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/kernels"
)

func emulated(t testing.TB) tensor.Backend {
	t.Helper()
	b, err := NewEmulator()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watched is a driver that calls before, which may change the parameters, before a kernel is launched.
type watched struct {
	Driver
	before func(kernel string, params []byte)
}

func (w watched) Load(ptx string) (Module, error) {
	m, err := w.Driver.Load(ptx)
	return watchedModule{w, m}, err
}

type watchedModule struct {
	w watched
	m Module
}

func (m watchedModule) Function(name string) (Function, error) {
	f, err := m.m.Function(name)
	return watchedFunction{m.w, name, f}, err
}

type watchedFunction struct {
	w    watched
	name string
	f    Function
}

func (f watchedFunction) Launch(grid, block [3]int, shared int, params []byte) error {
	f.w.before(f.name, params)
	return f.f.Launch(grid, block, shared, params)
}

// Every kernel, in the interpreter, against float64 references: none of the embedded PTX is left out.
func TestConformance(t *testing.T) {
	seen := map[string]bool{}
	d := watched{EmulatorDriver(), func(kernel string, _ []byte) { seen[kernel] = true }}
	b, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	backendtest.RunAll(t, b)
	if strings.Contains(testflag.Lookup("test.run").Value.String(), "/") {
		return // a part of the suite launches some kernels only
	}
	texts, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for module, text := range texts {
		for _, m := range regexp.MustCompile(`\.entry (\w+)\(`).FindAllStringSubmatch(text, -1) {
			if n++; !seen[m[1]] {
				t.Errorf("%s of %s was not launched", m[1], module)
			}
		}
	}
	if n < 80 {
		t.Errorf("%d kernels", n)
	}
}
