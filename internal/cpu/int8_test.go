package cpu

import (
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Operands that do not fit are refused by name; nothing is computed.
func TestInt8Refuses(t *testing.T) {
	b := New()
	alloc := func(dt tensor.DType, shape ...int) tensor.Tensor {
		x := tensor.New(nil, 0, dt, shape...)
		buf, err := b.Alloc(x.Bytes(), tensor.UseDraft)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Free(buf) })
		x.Buf = buf
		return x
	}
	f, i8 := tensor.F32, tensor.I8
	q := tensor.Int8Rows{Codes: alloc(i8, 8, 6), Scales: alloc(f, 8)}
	for name, c := range map[string]struct {
		want string
		err  error
	}{
		"encode, another shape":  {"codes are int8[8 6], want int8 [4 or more, 5]", b.EncodeInt8(q, alloc(f, 8, 5), false)},
		"encode, not transposed": {"codes are int8[8 6]", b.EncodeInt8(q, alloc(f, 6, 8), false)},
		"encode, bytes":          {"codes are uint8[8 6]", b.EncodeInt8(tensor.Int8Rows{Codes: alloc(tensor.U8, 8, 6), Scales: q.Scales}, alloc(f, 8, 6), false)},
		"encode, scales":         {"scales is float32[7]", b.EncodeInt8(tensor.Int8Rows{Codes: q.Codes, Scales: q.Scales.Slice(0, 7)}, alloc(f, 8, 6), false)},
		"encode, three rows":     {"codes are int8[3 6]", b.EncodeInt8(tensor.Int8Rows{Codes: q.Codes.RowRange(0, 3), Scales: q.Scales.Slice(0, 3)}, alloc(f, 3, 6), false)},
		"product, more rows":     {"9 rows, want at most", b.MulInt8(alloc(f, 9, 6), []tensor.Int8Part{{Y: alloc(f, 9, 8), W: q}})},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, c.err, c.want)
		}
	}
	if b.DraftRows(false) == 0 {
		return // every product is refused
	}
	x, y := alloc(f, 2, 6), alloc(f, 2, 8)
	for name, c := range map[string]struct {
		want string
		p    tensor.Int8Part
	}{
		"y":       {"y of part 0 is float32[2 7]", tensor.Int8Part{Y: alloc(f, 2, 7), W: q}},
		"bias":    {"bias is float32[7]", tensor.Int8Part{Y: y, W: q, Bias: alloc(f, 7)}},
		"columns": {"codes are int8[6 8]", tensor.Int8Part{Y: y, W: tensor.Int8Rows{Codes: q.Codes.View(6, 8), Scales: q.Scales.Slice(0, 6)}}},
		"absent":  {"codes is absent", tensor.Int8Part{Y: y}},
	} {
		if err := b.MulInt8(x, []tensor.Int8Part{c.p}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
	if err := b.MulInt8(x, []tensor.Int8Part{{Y: y, W: q}}); err != nil {
		t.Error(err)
	}
}
