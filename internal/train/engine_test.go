package train

import (
	"errors"
	"maps"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// counting counts the allocations of a backend.
type counting struct {
	*cpu.Backend
	allocs int
}

func (c *counting) Alloc(n int64, use tensor.Use) (tensor.Buffer, error) {
	c.allocs++
	return c.Backend.Alloc(n, use)
}

// step is one optimiser step.
func step(t testing.TB, e *Engine, h nn.HostBatch, number int) {
	t.Helper()
	b, err := e.feeder.Load(h)
	if err != nil {
		t.Fatal(err)
	}
	e.Opt.ZeroGrad()
	for _, err := range []error{e.resetSums(), e.trainMicro(&Micro{Batch: b}, tensor.RNGKey{Seed: 1, Micro: uint32(number)})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Opt.Step(number, 1e-3, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := e.sums(); err != nil {
		t.Fatal(err)
	}
}

// synthetic is a batch of sequences of 16 tokens, all trained.
func synthetic(seqs int) nn.HostBatch {
	h := nn.HostBatch{Cu: []int32{0}, MaxLen: 16, Ignore: data.IgnoreIndex}
	for s := range seqs {
		for i := range 16 {
			h.Tokens, h.Positions, h.Targets = append(h.Tokens, int32(1+(s*7+i*3)%50)), append(h.Positions, int32(i)), append(h.Targets, int32(1+(s+i)%50))
		}
		h.Cu = append(h.Cu, int32(16*(s+1)))
	}
	return h
}

// After an engine was made, batches of any size up to the largest allocate nothing on the device, and what the Go side
// allocates does not grow with the tokens.
func TestStepsAllocateNothing(t *testing.T) {
	for _, name := range []string{"llama", "gpt2", "gemma2"} {
		for _, recompute := range []bool{false, true} {
			dir := filepath.Join(modelsDir, name)
			g := readGolden(t, dir)
			b := &counting{Backend: cpu.New()}
			e := goldenEngineOn(t, b, dir, g, SFT{}, recompute, data.Limits{Tokens: 16 * 128, Sequences: 128, SeqLen: 16})
			made := b.allocs
			small, large := synthetic(32), synthetic(128)
			number := 0
			run := func(h nn.HostBatch) func() {
				return func() {
					number++
					step(t, e, h, number)
				}
			}
			few, many := testing.AllocsPerRun(5, run(small)), testing.AllocsPerRun(5, run(large))
			if b.allocs != made {
				t.Errorf("%s, recompute %v: %d device allocations after the first step", name, recompute, b.allocs-made)
			}
			if many > few+8 {
				t.Errorf("%s, recompute %v: %v Go allocations for %d tokens, %v for %d", name, recompute, few, len(small.Tokens), many, len(large.Tokens))
			}
		}
	}
}

func BenchmarkStep(b *testing.B) {
	dir := filepath.Join(modelsDir, "llama")
	g := readGolden(b, dir)
	for name, h := range map[string]nn.HostBatch{"512 tokens": synthetic(32), "2048 tokens": synthetic(128)} {
		b.Run(name, func(b *testing.B) {
			dev := &counting{Backend: cpu.New()}
			e := goldenEngineOn(b, dev, dir, g, SFT{}, false, data.Limits{Tokens: 16 * 128, Sequences: 128, SeqLen: 16})
			made := dev.allocs
			b.ReportAllocs()
			number := 0
			for b.Loop() {
				number++
				step(b, e, h, number)
			}
			b.ReportMetric(float64(dev.allocs-made), "device-allocs")
			b.ReportMetric(float64(len(h.Tokens)*number)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}

// unread is a checkpoint whose weights must not be read.
type unread struct{ Source }

func (unread) Bytes(name string) ([]byte, error) { return nil, errors.New(name + " was read") }

// A plan needs headers only: it counts the same bytes without reading a weight.
func TestPlanReadsNoWeight(t *testing.T) {
	dir := filepath.Join(modelsDir, "llama")
	g := readGolden(t, dir)
	e := goldenEngine(t, dir, g, SFT{}, false)
	spec := e.spec
	spec.Source = unread{spec.Source.(Source)}
	f, err := forecast(cpu.New(), spec)
	if err != nil {
		t.Fatal(err)
	}
	planned := f.Bytes
	if got := e.Backend.Allocated(); !maps.Equal(got, planned) {
		t.Errorf("planned %v, allocated %v", planned, got)
	}
	if _, _, err := NewEngine(cpu.New(), spec); err == nil {
		t.Error("the engine was made without reading its weights: the test proves nothing")
	}
}
