package ptxvm

import (
	"math"
	"strings"
)

// rounding returns the function that rounds to an integer in the mode of a conversion.
func rounding(f []string) func(float64) float64 {
	for _, m := range f {
		switch m {
		case "rni":
			return math.RoundToEven
		case "rzi":
			return math.Trunc
		case "rmi":
			return math.Floor
		case "rpi":
			return math.Ceil
		}
	}
	return nil
}

// clampInt converts a rounded number to an integer type: it saturates, and NaN becomes 0.
func clampInt(x float64, t string) uint64 {
	size := typeSize(t)
	if t[0] == 'u' {
		switch limit := math.Ldexp(1, 8*size); {
		case x != x || x <= 0:
			return 0
		case x >= limit:
			return trim(math.MaxUint64, size)
		}
		return uint64(x)
	}
	limit := math.Ldexp(1, 8*size-1)
	switch {
	case x != x:
		return 0
	case x >= limit:
		return uint64(1)<<(8*size-1) - 1
	case x < -limit:
		return trim(uint64(1)<<(8*size-1), size)
	}
	return trim(uint64(int64(x)), size)
}

// half converts a number to IEEE half precision, to nearest even.
func half(x float32) uint64 {
	u := math.Float32bits(x)
	sign, a := uint64(u>>16)&0x8000, u&0x7fffffff
	switch {
	case a > 0x7f800000:
		return 0x7fff
	case a >= 0x477ff000:
		return sign | 0x7c00
	case a < 0x38800000:
		return sign | uint64(math.RoundToEven(float64(math.Float32frombits(a))*(1<<24)))
	}
	a += 0xfff + a>>13&1
	return sign | uint64(a-0x38000000)>>13
}

func fromHalf(h uint64) float32 {
	v := math.Ldexp(float64(h&1023|1024), int(h>>10&31)-25)
	switch h >> 10 & 31 {
	case 0:
		v = math.Ldexp(float64(h&1023), -24)
	case 31:
		v = math.Inf(1)
		if h&1023 != 0 {
			v = math.NaN()
		}
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}

// conversion returns the function of a cvt.
func conversion(f []string, sat bool) (alu, int) {
	if len(f) < 3 {
		return nil, 0
	}
	to, from := f[len(f)-2], f[len(f)-1]
	one := func(g func(x uint64) uint64) (alu, int) {
		return func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = g(a[l])
			}
		}, 1
	}
	round, size := rounding(f), typeSize(from)
	if size == 0 || typeSize(to) == 0 || sat && !(from == "f32" && strings.ContainsAny(to[:1], "us")) {
		return nil, 0
	}
	isInt := func(t string) bool { return t[0] == 'u' || t[0] == 's' || t[0] == 'b' && t[1] != 'f' }
	switch {
	case to == "bf16x2" && from == "f32":
		return func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = bfloat(float(a[l]))<<16 | bfloat(float(b[l]))
			}
		}, 2
	case to == "bf16" && from == "f32":
		return one(func(x uint64) uint64 { return bfloat(float(x)) })
	case to == "f32" && from == "bf16":
		return one(func(x uint64) uint64 { return x << 16 })
	case to == "f16" && from == "f32":
		return one(func(x uint64) uint64 { return half(float(x)) })
	case to == "f32" && from == "f16":
		return one(func(x uint64) uint64 { return raw(fromHalf(x)) })
	case to == "f32" && from == "f32" && round != nil:
		return one(func(x uint64) uint64 { return raw(float32(round(float64(float(x))))) })
	case to == "f64" && from == "f32":
		return one(func(x uint64) uint64 { return rawD(float64(float(x))) })
	case to == "f32" && from == "f64":
		return one(func(x uint64) uint64 { return raw(float32(double(x))) })
	case from == "f32" && isInt(to) && round != nil:
		return one(func(x uint64) uint64 { return clampInt(round(float64(float(x))), to) })
	case to == "f32" && from[0] == 's':
		return one(func(x uint64) uint64 { return raw(float32(signed(x, size))) })
	case to == "f32" && from[0] == 'u':
		return one(func(x uint64) uint64 { return raw(float32(trim(x, size))) })
	case to == "f64" && from[0] == 's':
		return one(func(x uint64) uint64 { return rawD(float64(signed(x, size))) })
	case to == "f64" && from[0] == 'u':
		return one(func(x uint64) uint64 { return rawD(float64(trim(x, size))) })
	case isInt(to) && isInt(from):
		n := typeSize(to)
		if from[0] == 's' {
			return one(func(x uint64) uint64 { return trim(uint64(signed(x, size)), n) })
		}
		return one(func(x uint64) uint64 { return trim(trim(x, size), n) })
	}
	return nil, 0
}

// pack decodes mov between a vector and a register: mov.b64 {a,b}, c and back.
func (t *translator) pack(op string, f []string, ops []operand) func(*warp, uint32) {
	size := typeSize(f[len(f)-1])
	split := ops[0].vec != nil
	vec, one := ops[1].vec, ops[0]
	if split {
		vec, one = ops[0].vec, ops[1]
	}
	if len(vec) == 0 || size%len(vec) != 0 || one.vec != nil || one.reg < 0 || one.pred {
		t.bad("%s: unsupported operands", op)
	}
	part := size / len(vec)
	regs := make([]int, len(vec))
	for i, v := range vec {
		if v.pred || v.vec != nil || v.reg < 0 && !split {
			t.bad("%s: unsupported operands", op)
		}
		regs[i] = v.reg
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m)
			if !split {
				var v uint64
				for i, r := range regs {
					v |= trim(w.r[r][l], part) << (8 * part * i)
				}
				w.r[one.reg][l] = v
				continue
			}
			v := w.r[one.reg][l]
			for i, r := range regs {
				if r >= 0 {
					w.r[r][l] = trim(v>>(8*part*i), part)
				}
			}
		}
	}
}
