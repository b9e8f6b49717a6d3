package verify

import (
	"errors"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/tensor"
)

// broken is a device with a fault.
type broken struct {
	tensor.Backend
	gemm, attention bool
	drift           float32 // grows with every product
	calls           int
}

func (b *broken) scale(t tensor.Tensor, by float32) error {
	return b.Backend.Unary(tensor.OpScale, by, t, t)
}

func (b *broken) Gemm(s tensor.GemmSpec, c, x, y, bias tensor.Tensor) error {
	if err := b.Backend.Gemm(s, c, x, y, bias); err != nil {
		return err
	}
	b.calls++
	switch {
	case b.gemm && c.Len() > 0:
		return b.scale(c.Slice(0, 1), 1.5)
	case b.drift > 0:
		return b.scale(c, 1+b.drift*float32(b.calls))
	}
	return nil
}

func (b *broken) AttentionBwd(s tensor.AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias tensor.Tensor) error {
	err := b.Backend.AttentionBwd(s, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias)
	if err == nil && b.attention {
		err = b.scale(dv, 2)
	}
	return err
}

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		device *broken
		alone  bool     // without a CPU to compare with
		failed []string // names of checks that must not hold
	}{
		{name: "sound", device: &broken{}},
		{name: "sound, alone", device: &broken{}, alone: true},
		{name: "one wrong element", device: &broken{gemm: true}, failed: []string{"gemm", "losses against the CPU"}},
		{name: "a wrong gradient", device: &broken{attention: true}, failed: []string{"attention backward", "finite differences"}},
		{name: "results that change", device: &broken{drift: 1e-6}, alone: true, failed: []string{"the same again, to the bit"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.device.Backend = cpu.New()
			var ref tensor.Backend
			if !tc.alone {
				ref = cpu.New()
			}
			seen := 0
			checks, err := Run(t.Context(), tc.device, ref, Options{}, func(Check) { seen++ })
			if errors.Is(err, ErrFailed) != (len(tc.failed) > 0) || err != nil && len(tc.failed) == 0 {
				t.Errorf("got %v", err)
			}
			if seen != len(checks) || seen < 6 || !tc.alone && seen < 40 {
				t.Errorf("%d checks, %d of them told", len(checks), seen)
			}
			held := map[string]bool{}
			for _, c := range checks {
				if !c.OK {
					held[c.Name] = false
				} else if _, ok := held[c.Name]; !ok {
					held[c.Name] = true
				}
			}
			for _, name := range tc.failed {
				if ok, known := held[name]; ok || !known {
					t.Errorf("%s was not found: %v", name, checks)
				}
			}
			if len(tc.failed) == 0 {
				for name, ok := range held {
					if !ok {
						t.Errorf("%s does not hold", name)
					}
				}
			}
		})
	}
}

// A shadow compares every kernel that a device has.
func TestShadowIsComplete(t *testing.T) {
	checks, err := Run(t.Context(), cpu.New(), cpu.New(), Options{}, func(Check) {})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range checks {
		names[c.Name] = true
	}
	for _, want := range []string{"gemm", "add", "gate", "gate backward", "gelu_tanh", "gelu_tanh backward", "reduce sum", "norm", "norm backward", "rope", "attention",
		"attention backward", "gather", "scatter-add", "dequantise", "cross-entropy", "cross-entropy backward", "dropout", "sum of squares", "clip scale", "optimiser", "copy", "zero"} {
		if !names[want] {
			t.Errorf("no kernel %s was run", want)
		}
	}
}
