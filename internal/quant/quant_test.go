package quant_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/quant"
)

// golden is what bitsandbytes made: see tools/goldens/quant.py.
type golden struct {
	t *testing.T
	r *checkpoint.Reader
}

func openGolden(t *testing.T) golden {
	r, err := checkpoint.OpenFile("../../testdata/quant/quant.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return golden{t, r}
}

func (g golden) bytes(name string) []byte {
	b, err := g.r.Bytes(name)
	if err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
	return b
}

func (g golden) floats(name string) []float32 {
	b := g.bytes(name)
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func (g golden) has(name string) bool { _, ok := g.r.Info(name); return ok }

var cases = []string{"random", "odd", "one", "constant", "zero", "huge", "tiny", "spread", "borderline"}

// same compares bit by bit, but for the sign of zero.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s[%d]: %g, bitsandbytes has %g", what, i, got[i], want[i])
		}
	}
}

func TestNF4EqualsBitsandbytes(t *testing.T) {
	g := openGolden(t)
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			x := g.floats(name + ".x")
			packed, absmax := make([]byte, quant.PackedBytes(len(x))), make([]float32, quant.Blocks(len(x), quant.BlockSize))
			quant.EncodeNF4(packed, absmax, x)
			same(t, "absmax", absmax, g.floats(name+".absmax"))
			if want := g.bytes(name + ".nf4"); !bytes.Equal(packed, want) {
				for i := range packed {
					if packed[i] != want[i] && absmax[2*i/quant.BlockSize] > 0 {
						t.Fatalf("byte %d: %#x, bitsandbytes has %#x (x %g, %g)", i, packed[i], want[i], x[2*i], x[min(2*i+1, len(x)-1)])
					}
				}
			}
			if g.has(name + ".dequant") {
				got := make([]float32, len(x))
				quant.DecodeNF4(got, packed, absmax, 0)
				same(t, "dequantised", got, g.floats(name+".dequant"))
				if len(x) > 70 {
					part := make([]float32, 5)
					quant.DecodeNF4(part, packed, absmax, 61)
					same(t, "a part", part, got[61:66])
				}
			}
		})
	}
}

func TestNestedEqualsBitsandbytes(t *testing.T) {
	g := openGolden(t)
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			absmax := g.floats(name + ".absmax")
			n := quant.EncodeNested(absmax)
			want := g.floats(name + ".offset")[0]
			if ulps := math.Abs(float64(n.Offset)-float64(want)) / math.Max(1e-45, float64(math.Nextafter32(abs32(want), math.MaxFloat32)-abs32(want))); ulps > 2 {
				t.Errorf("offset %g, bitsandbytes has %g", n.Offset, want)
			}
			// Their sum's order is theirs: what follows is compared given their offset.
			theirs := make([]float32, len(absmax))
			for i, v := range absmax {
				theirs[i] = v - want
			}
			quant.NewEncoder(quant.DynamicMap(true)).Encode(n.Codes, n.Scales, theirs, quant.NestedBlock)
			n.Offset = want
			same(t, "scales", n.Scales, g.floats(name+".nested_absmax"))
			for i, c := range g.bytes(name + ".nested") {
				if n.Codes[i] != c && n.Scales[i/quant.NestedBlock] > 0 { // with scale 0 any code is 0
					t.Errorf("code %d: %d, bitsandbytes has %d", i, n.Codes[i], c)
				}
			}
			if g.has(name + ".nested_dequant") {
				x := g.floats(name + ".x")
				got := make([]float32, len(x))
				quant.DecodeNF4(got, g.bytes(name+".nf4"), n.Decode(), 0)
				same(t, "dequantised", got, g.floats(name+".nested_dequant"))
			}
		})
	}
}

func abs32(v float32) float32 { return float32(math.Abs(float64(v))) }

func TestDynamicMapsEqualBitsandbytes(t *testing.T) {
	g := openGolden(t)
	for name, signed := range map[string]bool{"map.signed": true, "map.unsigned": false} {
		got := quant.DynamicMap(signed)
		same(t, name, got[:], g.floats(name))
	}
}

func Test8BitEqualsBitsandbytes(t *testing.T) {
	g := openGolden(t)
	for _, name := range cases {
		for kind, signed := range map[string]bool{"int8": true, "uint8": false} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				x := g.floats(name + ".x")
				if !signed {
					for i := range x {
						x[i] = abs32(x[i])
					}
				}
				code := quant.DynamicMap(signed)
				codes, absmax := make([]byte, len(x)), make([]float32, quant.Blocks(len(x), 256))
				quant.NewEncoder(code).Encode(codes, absmax, x, 256)
				same(t, "absmax", absmax, g.floats(name+"."+kind+"_absmax"))
				want := g.bytes(name + "." + kind)
				for i := range codes {
					if codes[i] != want[i] && absmax[i/256] > 0 { // with scale 0 any code is 0
						t.Fatalf("code %d of %g: %d, bitsandbytes has %d (%g, %g)", i, x[i]/absmax[i/256], codes[i], want[i], code[codes[i]], code[want[i]])
					}
				}
				if g.has(name + "." + kind + "_dequant") {
					got := make([]float32, len(x))
					quant.Decode8(got, codes, absmax, &code, 256, 0)
					same(t, "dequantised", got, g.floats(name+"."+kind+"_dequant"))
				}
			})
		}
	}
}

// What is decoded is the code's value nearest to x, so that encoding it again changes nothing.
func TestNF4RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float32Range(-1e6, 1e6), 1, 200).Draw(t, "x")
		packed, absmax := make([]byte, quant.PackedBytes(len(x))), make([]float32, quant.Blocks(len(x), quant.BlockSize))
		quant.EncodeNF4(packed, absmax, x)
		y := make([]float32, len(x))
		quant.DecodeNF4(y, packed, absmax, 0)
		for i := range x {
			if d := math.Abs(float64(x[i]-y[i])) / math.Max(1e-30, float64(absmax[i/quant.BlockSize])); d > 0.1521 {
				t.Fatalf("x[%d] = %g becomes %g: off by %g of the block's scale", i, x[i], y[i], d)
			}
		}
		again := make([]byte, len(packed))
		quant.EncodeNF4(again, absmax, y)
		if !bytes.Equal(again, packed) {
			t.Fatalf("encoding the decoded values gives other codes")
		}
	})
}
