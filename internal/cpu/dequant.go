package cpu

import (
	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Dequant writes rows row … of q to w: code·scale, in float32, rounded once where w is bfloat16.
func (b *Backend) Dequant(w tensor.Tensor, q tensor.Quant4, row int) error {
	c := call{kernel: "dequant"}
	n := q.Rows * q.Cols
	blocks := quant.Blocks(n, quant.BlockSize)
	c.require(q.Rows >= 0 && q.Cols > 0 && w.Cols() == q.Cols && row >= 0 && row+w.Rows() <= q.Rows, "rows %d … of [%d,%d] do not fit %v", row, q.Rows, q.Cols, w)
	wf := c.out("w", w)
	codes := c.bytes("codes", q.Codes, false)
	c.require(c.err != nil || q.Codes.DType == tensor.U8 && len(codes) == quant.PackedBytes(n), "codes are %v, want %d bytes", q.Codes, quant.PackedBytes(n))
	scales := c.scales(q, blocks)
	if c.err != nil {
		return c.err
	}
	lo := row * q.Cols
	parts(w.Len(), grain, func(from, to int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, piece)
		for i := from; i < to; {
			at := lo + i
			// At most a block, from an even element on where there is one.
			m := min(quant.BlockSize-at%quant.BlockSize, to-i)
			d := wf.dst(i, m, t)
			b.decodeNF4(d, codes, at, scales.at(at/quant.BlockSize))
			wf.flush(b.v, i, d)
			i += m
		}
	})
	return nil
}

// decodeNF4 decodes elements at … of a block with a scale.
func (b *Backend) decodeNF4(d []float32, codes []byte, at int, k float32) {
	j, n := 0, len(d)
	if at%2 == 1 {
		d[0] = quant.NF4[codes[at/2]&15] * k
		j = 1
	}
	pairs := (n - j) / 2 * 2
	b.v.NF4(d[j:j+pairs], codes[(at+j)/2:], k)
	if j += pairs; j < n {
		d[j] = quant.NF4[codes[(at+j)/2]>>4] * k
	}
}

// blockScales are the scales of a matrix in four bits: numbers, or codes of such.
type blockScales struct {
	absmax         []float32
	codes          []byte
	nested, values []float32
	offset         float32
}

// scales checks the scales of a matrix.
func (c *call) scales(q tensor.Quant4, blocks int) (s blockScales) {
	if q.AbsCodes.IsZero() {
		c.length("absmax", q.Absmax, blocks)
		s.absmax = c.f32("absmax", q.Absmax, blocks, false)
		return s
	}
	nested := quant.Blocks(blocks, quant.NestedBlock)
	c.length("absmax codes", q.AbsCodes, blocks)
	s.codes = c.bytes("absmax codes", q.AbsCodes, false)
	c.require(c.err != nil || q.AbsCodes.DType == tensor.U8, "absmax codes are %v, want uint8", q.AbsCodes)
	c.length("absmax scales", q.AbsScales, nested)
	s.nested, s.values, s.offset = c.f32("absmax scales", q.AbsScales, nested, false), c.f32("map", q.Map, 256, false), q.Offset
	return s
}

// at returns the scale of a block.
func (s *blockScales) at(block int) float32 {
	if s.absmax != nil {
		return s.absmax[block]
	}
	return float32(s.values[s.codes[block]]*s.nested[block/quant.NestedBlock]) + s.offset
}

// read returns the scales of blocks lo to lo+n, in place or decoded into tmp.
func (s *blockScales) read(lo, n int, tmp []float32) []float32 {
	if s.absmax != nil {
		return s.absmax[lo : lo+n]
	}
	tmp = tmp[:n]
	values := (*[256]float32)(s.values)
	for done := 0; done < n; {
		at := lo + done
		some := tmp[done:min(n, done+quant.NestedBlock-at%quant.NestedBlock)]
		k := s.nested[at/quant.NestedBlock]
		for i, code := range s.codes[at:][:len(some)] {
			some[i] = float32(values[code]*k) + s.offset
		}
		done += len(some)
	}
	return tmp
}

// MulQuant4Rows is 0 where the CPU has no instructions for MulQuant4.
func (b *Backend) MulQuant4Rows(tensor.DType) int {
	if b.v.DotsNF4 == nil {
		return 0
	}
	return vec.NF4Rows
}

// MulQuant4 computes y = x·qᵀ + bias + beta·y for few rows of x, in float32: codes are looked up in a register and multiplied at once.
func (b *Backend) MulQuant4(y, x tensor.Tensor, q tensor.Quant4, bias tensor.Tensor, beta float32) error {
	c := call{kernel: "nf4 product"}
	m, n, k := x.Rows(), q.Rows, q.Cols
	c.require(m <= b.MulQuant4Rows(x.DType), "%d rows, want at most %d", m, b.MulQuant4Rows(x.DType))
	c.require(n >= 0 && k > 0 && x.Cols() == k, "x is %v, the matrix [%d,%d]", x, n, k)
	c.length("y", y, m*n)
	yf, xf := c.out("y", y), c.in("x", x)
	codes := c.bytes("codes", q.Codes, false)
	c.require(c.err != nil || q.Codes.DType == tensor.U8 && len(codes) == quant.PackedBytes(n*k), "codes are %v, want %d bytes", q.Codes, quant.PackedBytes(n*k))
	scales := c.scales(q, quant.Blocks(n*k, quant.BlockSize))
	var bf floats
	if !bias.IsZero() {
		c.length("bias", bias, n)
		bf = c.in("bias", bias)
	}
	if c.err != nil || m*n == 0 {
		return c.err
	}
	s := b.borrow()
	defer b.giveBack(s)
	whole := k%quant.BlockSize == 0 // rows begin where blocks do
	xs, tmp := s.floats(0, m*k), s.floats(1, k)
	for r := range m {
		row := xf.read(b.v, r*k, k, tmp)
		if whole {
			vec.EvenOdd(xs[r*k:][:k], row)
		} else {
			copy(xs[r*k:][:k], row)
		}
	}
	tasks := min(4*par.Workers(), (n*k+grain-1)/grain)
	parts(n, max(1, (n+tasks-1)/tasks), func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		cols := hi - lo
		sums := s.floats(0, m*cols)
		if whole {
			blocks := k / quant.BlockSize
			b.v.DotsNF4(sums, cols, xs, m, k, codes[lo*k/2:hi*k/2], scales.read(lo*blocks, cols*blocks, s.floats(1, cols*blocks)))
		} else {
			row := s.floats(1, k)
			for i := lo; i < hi; i++ {
				for j := 0; j < k; {
					at := i*k + j
					d := row[j:min(k, j+quant.BlockSize-at%quant.BlockSize)]
					b.decodeNF4(d, codes, at, scales.at(at/quant.BlockSize))
					j += len(d)
				}
				for r := range m {
					sums[r*cols+i-lo] = b.v.Dot(xs[r*k:][:k], row)
				}
			}
		}
		tmp := s.floats(1, cols)
		for r := range m {
			d := sums[r*cols:][:cols]
			if !bias.IsZero() {
				b.v.Add(d, d, bf.read(b.v, lo, cols, tmp))
			}
			if beta != 0 {
				b.v.Axpy(d, yf.read(b.v, r*n+lo, cols, tmp), beta)
			}
			yf.store(b.v, r*n+lo, d, false, tmp)
		}
	})
	return nil
}
