package tensor

import "testing"

func TestViews(t *testing.T) {
	x := New(nil, 8, BF16, 4, 3, 2)
	if x.Len() != 24 || x.Bytes() != 48 || x.Rows() != 12 || x.Cols() != 2 || x.Dim(-1) != 2 {
		t.Errorf("sizes of %v are wrong", x)
	}
	if r := x.RowRange(1, 3); r.Off != 8+6*2 || r.Dim(0) != 2 || r.Rank() != 3 {
		t.Errorf("RowRange: %v at %d", r, r.Off)
	}
	if s := x.Slice(5, 9); s.Off != 8+5*2 || s.Len() != 4 {
		t.Errorf("Slice: %v at %d", s, s.Off)
	}
	if v := x.View(6, 4); !v.SameShape(New(nil, 0, F32, 6, 4)) {
		t.Errorf("View: %v", v)
	}
	if got := x.String(); got != "bfloat16[4 3 2]" {
		t.Errorf("String: %s", got)
	}
}

func TestNumElements(t *testing.T) {
	for _, c := range []struct {
		shape []int
		n     int64
		ok    bool
	}{
		{nil, 1, true}, {[]int{3, 0}, 0, true}, {[]int{-1, 2}, 0, false}, {[]int{1 << 31, 1 << 31, 4}, 0, false}, {[]int{5, 7}, 35, true},
	} {
		if n, ok := NumElements(c.shape); n != c.n || ok != c.ok {
			t.Errorf("NumElements(%v) = %d, %v", c.shape, n, ok)
		}
	}
}

// The known answers of Random123 for Philox 4×32-10.
func TestPhiloxKnownAnswers(t *testing.T) {
	if got, want := (RNGKey{}).Philox(0), ([4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}); got != want {
		t.Errorf("zero key: %x, want %x", got, want)
	}
	k := RNGKey{Seed: 1<<64 - 1, Micro: 1<<32 - 1, Op: 1<<32 - 1}
	if got, want := k.Philox(1<<64-1), ([4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}); got != want {
		t.Errorf("all ones: %x, want %x", got, want)
	}
}

func TestHalfRoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if f := FromF16(h); f == f && ToF16(f) != h {
			t.Fatalf("float16 %#04x → %g → %#04x", h, f, ToF16(f))
		}
		if f := FromBF16(h); f == f && ToBF16(f) != h {
			t.Fatalf("bfloat16 %#04x → %g → %#04x", h, f, ToBF16(f))
		}
	}
}

func TestHalfRounding(t *testing.T) {
	for _, c := range []struct {
		x         float32
		f16, bf16 uint16
	}{
		{1 + 1.0/2048, 0x3c00, 0x3f80},    // a tie goes to the even neighbour
		{1 + 3.0/2048, 0x3c02, 0x3f80},    // and up if that is even
		{1 + 1.0/256, 0x3c04, 0x3f80},     // bfloat16: tie, down to even
		{1 + 3.0/256, 0x3c0c, 0x3f82},     // bfloat16: tie, up to even
		{65519, 0x7bff, 0x4780},           // largest that stays finite in float16
		{65520, 0x7c00, 0x4780},           // and the first that does not
		{1.0 / (1 << 25), 0x0000, 0x3300}, // half the smallest subnormal: even
	} {
		if got := ToF16(c.x); got != c.f16 {
			t.Errorf("ToF16(%g) = %#04x, want %#04x", c.x, got, c.f16)
		}
		if got := ToBF16(c.x); got != c.bf16 {
			t.Errorf("ToBF16(%g) = %#04x, want %#04x", c.x, got, c.bf16)
		}
	}
}
