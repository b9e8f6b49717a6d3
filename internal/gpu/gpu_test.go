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

// launches is a driver that notes which kernels were launched.
type launches struct {
	Driver
	seen map[string]bool
}

func (l launches) Load(ptx string) (Module, error) {
	m, err := l.Driver.Load(ptx)
	return notedModule{l, m}, err
}

type notedModule struct {
	l launches
	m Module
}

func (m notedModule) Function(name string) (Function, error) {
	f, err := m.m.Function(name)
	return notedFunction{m.l, name, f}, err
}

type notedFunction struct {
	l    launches
	name string
	f    Function
}

func (f notedFunction) Launch(grid, block [3]int, shared int, params []byte) error {
	f.l.seen[f.name] = true
	return f.f.Launch(grid, block, shared, params)
}

// Every kernel, in the interpreter, against float64 references: none of the embedded PTX is left out.
func TestConformance(t *testing.T) {
	d := launches{EmulatorDriver(), map[string]bool{}}
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
			if n++; !d.seen[m[1]] {
				t.Errorf("%s of %s was not launched", m[1], module)
			}
		}
	}
	if n < 80 {
		t.Errorf("%d kernels", n)
	}
}
