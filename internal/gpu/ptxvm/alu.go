package ptxvm

import (
	"math"
	"math/bits"
	"strings"
)

// lanes is one register of a warp. Values of fewer than 64 bits are kept zero-extended.
type lanes [32]uint64

// alu computes one register from up to three for all lanes of a warp.
type alu func(d, a, b, c *lanes)

func float(x uint64) float32  { return math.Float32frombits(uint32(x)) }
func raw(x float32) uint64    { return uint64(math.Float32bits(x)) }
func double(x uint64) float64 { return math.Float64frombits(x) }
func rawD(x float64) uint64   { return math.Float64bits(x) }
func flush(x float32) float32 { // denormals become zero
	if math.Float32bits(x)&0x7f800000 == 0 {
		return math.Float32frombits(math.Float32bits(x) & 0x80000000)
	}
	return x
}

// fma returns x·y+z rounded once.
func fma(x, y, z float32) float32 {
	p := float64(x) * float64(y) // exact
	zd := float64(z)
	s := p + zd
	u := math.Float64bits(s)
	if u&0x1fffffff == 0x10000000 || u<<1 < 0x3810000000000000<<1 {
		// A second rounding could go wrong at a tie or among denormals: round the sum to odd first.
		bb := s - p
		e := (p - (s - bb)) + (zd - bb)
		if e != 0 && u&1 == 0 && !math.IsInf(s, 0) && s == s {
			if (e > 0) == (s > 0) {
				u++
			} else {
				u--
			}
			s = math.Float64frombits(u)
		}
	}
	return float32(s)
}

// bfloat rounds to bfloat16, to nearest even; NaN becomes the canonical one.
func bfloat(x float32) uint64 {
	u := math.Float32bits(x)
	if x != x {
		return 0x7fff
	}
	return uint64((u + 0x7fff + u>>16&1) >> 16)
}

func fmax(x, y float32) float32 {
	switch {
	case x != x:
		return y
	case y != y:
		return x
	case x == 0 && y == 0:
		return math.Float32frombits(math.Float32bits(x) & math.Float32bits(y))
	case x > y:
		return x
	}
	return y
}

func fmin(x, y float32) float32 { return -fmax(-x, -y) }

// arithmetic returns the function of an instruction and how many registers it reads, or nil.
func (m *Module) arithmetic(f []string) (alu, int) {
	var key []string
	ftz, sat := false, false
	for _, part := range f {
		switch part {
		case "rn", "approx", "full", "uni", "to":
		case "ftz":
			ftz = true
		case "sat":
			sat = true
		default:
			key = append(key, part)
		}
	}
	if sat && !strings.HasPrefix(f[0], "cvt") {
		return nil, 0
	}
	if f[0] == "cvt" {
		return conversion(f, sat)
	}
	name := strings.Join(key, ".")
	if fn, ok := m.functions[name]; ok {
		if ftz {
			return func(d, a, b, c *lanes) {
				for l := range d {
					d[l] = raw(flush(fn(flush(float(a[l])))))
				}
			}, 1
		}
		return func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = raw(fn(float(a[l])))
			}
		}, 1
	}
	if ftz && !strings.HasPrefix(f[0], "max") && !strings.HasPrefix(f[0], "min") {
		return nil, 0
	}
	if o, ok := m.operations[name]; ok {
		return o.fn, o.n
	}
	return nil, 0
}

// specialFunctions are functions that the special function unit approximates.
func specialFunctions() map[string]func(float32) float32 {
	via := func(f func(float64) float64) func(float32) float32 {
		return func(x float32) float32 { return float32(f(float64(x))) }
	}
	return map[string]func(float32) float32{
		"ex2.f32":   via(math.Exp2),
		"lg2.f32":   via(math.Log2),
		"rsqrt.f32": via(func(x float64) float64 { return 1 / math.Sqrt(x) }),
		"sqrt.f32":  via(math.Sqrt),
		"rcp.f32":   func(x float32) float32 { return 1 / x },
		"sin.f32":   via(math.Sin),
		"cos.f32":   via(math.Cos),
		"tanh.f32":  via(math.Tanh),
	}
}

// operation is an instruction on whole registers and the number of those that it reads.
type operation struct {
	n  int
	fn alu
}

// operations returns all instructions that are functions of registers, by name without rounding mode.
func operations() map[string]operation {
	m := map[string]operation{}
	for _, t := range []string{"b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"} {
		m["mov."+t] = operation{1, func(d, a, b, c *lanes) { *d = *a }}
	}
	floats(m)
	doubles(m)
	integers(m)
	bitwise(m)
	return m
}

func floats(m map[string]operation) {
	m["add.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(float(a[l]) + float(b[l]))
		}
	}}
	m["sub.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(float(a[l]) - float(b[l]))
		}
	}}
	m["mul.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(float(a[l]) * float(b[l]))
		}
	}}
	m["fma.f32"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(fma(float(a[l]), float(b[l]), float(c[l])))
		}
	}}
	m["div.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(float(a[l]) / float(b[l]))
		}
	}}
	m["neg.f32"] = operation{1, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = a[l] ^ 0x80000000
		}
	}}
	m["abs.f32"] = operation{1, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = a[l] & 0x7fffffff
		}
	}}
	m["max.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(fmax(float(a[l]), float(b[l])))
		}
	}}
	m["min.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = raw(fmin(float(a[l]), float(b[l])))
		}
	}}
	m["copysign.f32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = a[l]&0x80000000 | b[l]&0x7fffffff
		}
	}}
}

func doubles(m map[string]operation) {
	two := func(name string, f func(x, y float64) float64) {
		m[name] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = rawD(f(double(a[l]), double(b[l])))
			}
		}}
	}
	two("add.f64", func(x, y float64) float64 { return x + y })
	two("sub.f64", func(x, y float64) float64 { return x - y })
	two("mul.f64", func(x, y float64) float64 { return x * y })
	two("div.f64", func(x, y float64) float64 { return x / y })
	m["fma.f64"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = rawD(math.FMA(double(a[l]), double(b[l]), double(c[l])))
		}
	}}
	m["neg.f64"] = operation{1, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = a[l] ^ 1<<63
		}
	}}
	m["sqrt.f64"] = operation{1, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = rawD(math.Sqrt(double(a[l])))
		}
	}}
}

// signed reads a value of the given size as a signed number.
func signed(x uint64, size int) int64 {
	shift := 64 - 8*size
	return int64(x<<shift) >> shift
}

func trim(x uint64, size int) uint64 {
	if size >= 8 || size <= 0 {
		return x
	}
	return x & (1<<(8*size) - 1)
}

func integers(m map[string]operation) {
	wide := map[int]string{2: "16", 4: "32", 8: "64"}
	for size, w := range wide {
		mask := uint64(1)<<(8*size-1)<<1 - 1
		add := operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = (a[l] + b[l]) & mask
			}
		}}
		sub := operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = (a[l] - b[l]) & mask
			}
		}}
		mul := operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] * b[l] & mask
			}
		}}
		mad := operation{3, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = (a[l]*b[l] + c[l]) & mask
			}
		}}
		for _, t := range []string{"u" + w, "s" + w, "b" + w} {
			m["add."+t], m["sub."+t], m["mul.lo."+t], m["mad.lo."+t] = add, sub, mul, mad
		}
		m["neg.s"+w] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = -a[l] & mask
			}
		}}
		m["abs.s"+w] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				v := signed(a[l], size)
				d[l] = uint64(max(v, -v)) & mask
			}
		}}
		two := func(name string, f func(x, y uint64) uint64) {
			m[name] = operation{2, func(d, a, b, c *lanes) {
				for l := range d {
					d[l] = f(a[l], b[l]) & mask
				}
			}}
		}
		two("div.u"+w, func(x, y uint64) uint64 {
			if y == 0 {
				return math.MaxUint64
			}
			return x / y
		})
		two("rem.u"+w, func(x, y uint64) uint64 {
			if y == 0 {
				return x
			}
			return x % y
		})
		two("div.s"+w, func(x, y uint64) uint64 {
			if y == 0 {
				return math.MaxUint64
			}
			return uint64(signed(x, size) / signed(y, size))
		})
		two("rem.s"+w, func(x, y uint64) uint64 {
			if y == 0 {
				return x
			}
			return uint64(signed(x, size) % signed(y, size))
		})
		two("max.u"+w, func(x, y uint64) uint64 { return max(x, y) })
		two("min.u"+w, func(x, y uint64) uint64 { return min(x, y) })
		two("max.s"+w, func(x, y uint64) uint64 { return uint64(max(signed(x, size), signed(y, size))) })
		two("min.s"+w, func(x, y uint64) uint64 { return uint64(min(signed(x, size), signed(y, size))) })
		two("shl.b"+w, func(x, y uint64) uint64 { return x << uint32(y) })
		two("shr.u"+w, func(x, y uint64) uint64 { return x >> uint32(y) })
		two("shr.b"+w, func(x, y uint64) uint64 { return x >> uint32(y) })
		two("shr.s"+w, func(x, y uint64) uint64 { return uint64(signed(x, size) >> uint32(y)) })
	}
	for size, w := range map[int]string{2: "16", 4: "32"} {
		double := uint64(1)<<(16*size-1)<<1 - 1
		m["mul.wide.u"+w] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] * b[l] & double
			}
		}}
		m["mul.wide.s"+w] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = uint64(signed(a[l], size)*signed(b[l], size)) & double
			}
		}}
		m["mad.wide.u"+w] = operation{3, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = (trim(a[l], size)*trim(b[l], size) + c[l]) & double
			}
		}}
		m["mad.wide.s"+w] = operation{3, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = (uint64(signed(a[l], size)*signed(b[l], size)) + c[l]) & double
			}
		}}
	}
	m["mul.hi.u32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = a[l] * b[l] >> 32
		}
	}}
	m["mul.hi.s32"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = uint64(uint32(signed(a[l], 4) * signed(b[l], 4) >> 32))
		}
	}}
	m["mul.hi.u64"] = operation{2, func(d, a, b, c *lanes) {
		for l := range d {
			d[l], _ = bits.Mul64(a[l], b[l])
		}
	}}
}

func bitwise(m map[string]operation) {
	for size, t := range map[int]string{2: "b16", 4: "b32", 8: "b64"} {
		m["and."+t] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] & b[l]
			}
		}}
		m["or."+t] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] | b[l]
			}
		}}
		m["xor."+t] = operation{2, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] ^ b[l]
			}
		}}
		m["not."+t] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = trim(^a[l], size)
			}
		}}
		if size == 2 {
			continue
		}
		m["popc."+t] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = uint64(bits.OnesCount64(a[l]))
			}
		}}
		m["clz."+t] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = uint64(bits.LeadingZeros64(a[l]) - (64 - 8*size))
			}
		}}
		m["brev."+t] = operation{1, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = bits.Reverse64(a[l]) >> (64 - 8*size)
			}
		}}
		m["bfe.u"+t[1:]] = operation{3, func(d, a, b, c *lanes) {
			for l := range d {
				d[l] = a[l] >> (b[l] & 255) & (1<<(c[l]&255) - 1)
			}
		}}
	}
	m["bfe.s32"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			pos, n := b[l]&255, c[l]&255
			d[l] = 0
			if n > 0 {
				v := signed(a[l], 4) >> pos << (64 - min(n, 64)) >> (64 - min(n, 64))
				d[l] = uint64(uint32(v))
			}
		}
	}}
	m["shf.l.wrap.b32"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = (b[l]<<32 | a[l]) << (c[l] & 31) >> 32
		}
	}}
	m["shf.r.wrap.b32"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = uint64(uint32((b[l]<<32 | a[l]) >> (c[l] & 31)))
		}
	}}
	m["prmt.b32"] = operation{3, func(d, a, b, c *lanes) {
		for l := range d {
			both, sel := b[l]<<32|a[l], c[l]
			var v uint64
			for i := range 4 {
				s := sel >> (4 * i) & 15
				x := both >> (8 * (s & 7)) & 255
				if s&8 != 0 {
					x = uint64(uint8(int8(x) >> 7))
				}
				v |= x << (8 * i)
			}
			d[l] = v
		}
	}}
}
