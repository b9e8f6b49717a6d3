package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Sizes are the operands that kernels are measured on.
type Sizes struct {
	Tokens, Heads, HeadDim int   // of attention
	Seqs                   []int // lengths of its sequences: each divides Tokens
	Hidden, Wide           int   // of linear layers: [Hidden, Hidden]; of a matrix that is decoded: [Wide, Hidden]
	Rows                   []int // of a linear layer's input
	Params                 int   // of an update, and elements of a copy
}

// FullSizes are those of 8B-parameter models; TinySizes try the code out, in the interpreter too.
func FullSizes() Sizes {
	return Sizes{
		Tokens: 16384, Heads: 16, HeadDim: 128, Seqs: []int{4096, 8192, 16384}, Hidden: 4096, Wide: 14336, Rows: []int{1, 16, 512, 4096}, Params: 64 << 20,
	}
}

// TinySizes are the smallest that make sense.
func TinySizes() Sizes {
	return Sizes{Tokens: 64, Heads: 2, HeadDim: 16, Seqs: []int{32, 64}, Hidden: 64, Wide: 96, Rows: []int{1, 16, 32}, Params: 4096}
}

// KernelResult is what one kernel took.
type KernelResult struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"` // a call, the median of some rounds
	// Bytes is the memory that a call must at least read and write, FLOPs its operations: one of them is what bounds the kernel.
	Bytes float64 `json:"bytes,omitempty"`
	FLOPs float64 `json:"flops,omitempty"`
}

// kernelCase is a kernel with its operands; make allocates them.
type kernelCase struct {
	name         string
	bytes, flops float64
	make         func(o *operands) func() error
}

// Kernels measures single kernels on b, those whose names only matches: calls follow each other without waiting, until a round took
// 20 ms; the median of rounds counts.
func (s Sizes) Kernels(ctx context.Context, b tensor.Backend, only *regexp.Regexp, rounds int, each func(KernelResult)) error {
	for _, c := range s.cases(b) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if only != nil && !only.MatchString(c.name) {
			continue
		}
		seconds, err := measureKernel(b, c, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		each(KernelResult{Name: c.name, Seconds: seconds, Bytes: c.bytes, FLOPs: c.flops})
	}
	return nil
}

// measureKernel returns the seconds of a call.
func measureKernel(b tensor.Backend, c kernelCase, rounds int) (float64, error) {
	o := &operands{b: b}
	defer o.free()
	call := c.make(o)
	if err := errors.Join(o.errs...); err != nil {
		return 0, err
	}
	run := func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			if err := call(); err != nil {
				return 0, err
			}
		}
		err := b.Sync()
		return time.Since(start), err
	}
	if _, err := run(1); err != nil { // what is prepared once
		return 0, err
	}
	one, err := run(1)
	if err != nil {
		return 0, err
	}
	const round = 20 * time.Millisecond
	n := int(min(1000, 1+round/max(one, time.Microsecond)))
	var times []time.Duration
	for range max(1, rounds) {
		took, err := run(n)
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	return Median(times).Seconds() / float64(n), nil
}

// operands allocates and keeps the first errors.
type operands struct {
	b       tensor.Backend
	buffers []tensor.Buffer
	errs    []error
}

func (o *operands) free() {
	for _, b := range o.buffers {
		o.b.Free(b)
	}
}

// zeros allocates a tensor.
func (o *operands) zeros(dt tensor.DType, shape ...int) tensor.Tensor {
	n := tensor.New(nil, 0, dt, shape...).Bytes()
	buf, err := o.b.Alloc(n, tensor.UseActivations)
	if err != nil {
		o.errs = append(o.errs, err)
		return tensor.Tensor{}
	}
	o.buffers = append(o.buffers, buf)
	return tensor.New(buf, 0, dt, shape...)
}

// random allocates a tensor of numbers between 0.5 and 2 of either sign, or of random bytes. Long ones repeat.
func (o *operands) random(dt tensor.DType, shape ...int) tensor.Tensor {
	x := o.zeros(dt, shape...)
	if x.IsZero() {
		return x
	}
	const part = 1 << 20
	var raw []byte
	for i := range min(part, x.Len()) {
		h := uint32(i) * 2654435761
		h ^= h >> 15
		switch dt {
		case tensor.F32:
			raw = binary.LittleEndian.AppendUint32(raw, h&0x80ffffff|0x3f000000)
		case tensor.BF16:
			raw = binary.LittleEndian.AppendUint16(raw, uint16(h>>16)&0x80ff|0x3f00)
		default:
			raw = append(raw, byte(h>>8))
		}
	}
	for lo := 0; lo < x.Len(); lo += part {
		hi := min(lo+part, x.Len())
		o.errs = append(o.errs, o.b.Upload(x.Slice(lo, hi), raw[:(hi-lo)*dt.Size()]))
	}
	return x
}

// ints allocates and fills a tensor of integers.
func (o *operands) ints(values []int32) tensor.Tensor {
	x := o.zeros(tensor.I32, len(values))
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
	}
	if !x.IsZero() {
		o.errs = append(o.errs, o.b.Upload(x, raw))
	}
	return x
}

// quant4 allocates a matrix in four bits with double quantisation.
func (o *operands) quant4(rows, cols int) tensor.Quant4 {
	blocks := quant.Blocks(rows*cols, quant.BlockSize)
	return tensor.Quant4{
		Rows: rows, Cols: cols, Codes: o.random(tensor.U8, quant.PackedBytes(rows*cols)), AbsCodes: o.random(tensor.U8, blocks),
		AbsScales: o.random(tensor.F32, quant.Blocks(blocks, quant.NestedBlock)), Map: o.random(tensor.F32, 256), Offset: 0.1,
	}
}

func (s Sizes) cases(b tensor.Backend) []kernelCase {
	list := s.memoryCases()
	for _, m := range s.Rows {
		list = append(list, s.linear(b, m)...)
	}
	for _, n := range s.Seqs {
		var cu []int32
		for at := 0; at <= s.Tokens; at += n {
			cu = append(cu, int32(at))
		}
		list = append(list, s.attention(fmt.Sprintf("causal %d", n), cu)...)
	}
	return append(list, s.attention("varlen", uneven(s.Tokens))...)
}

// uneven cuts tokens into sequences of different lengths: a half, a quarter, an eighth, and so on.
func uneven(tokens int) []int32 {
	cu := []int32{0}
	for left := tokens; left > 0; {
		n := max(1, left/2)
		if left <= 16 {
			n = left
		}
		cu, left = append(cu, cu[len(cu)-1]+int32(n)), left-n
	}
	return cu
}

// memoryCases are bound by memory: their bytes are to be compared with those of the copy.
func (s Sizes) memoryCases() []kernelCase {
	n, rows := s.Params, s.Params/s.Hidden
	spec := tensor.OptSpec{Kind: tensor.AdamW, Step: 10, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	segs := []tensor.Segment{{Len: n, LR: 1e-5, WeightDecay: 0.01}}
	elements := float64(rows * s.Hidden)
	return []kernelCase{
		{"copy", 8 * float64(n), 0, func(o *operands) func() error {
			x, y := o.random(tensor.F32, n), o.zeros(tensor.F32, n)
			return func() error { return o.b.Copy(y, x) }
		}},
		{"adamw", 28 * float64(n), 0, func(o *operands) func() error {
			w, g, scale := o.random(tensor.F32, n), o.random(tensor.F32, n), o.random(tensor.F32, 1)
			s1, s2 := o.zeros(tensor.F32, n), o.zeros(tensor.F32, n)
			return func() error { return o.b.Optim(spec, segs, tensor.Tensor{}, w, s1, s2, g, scale) }
		}},
		{"dequantise", float64(s.Wide*s.Hidden) * (0.5 + 1.0/64 + 2), 0, func(o *operands) func() error {
			q, w := o.quant4(s.Wide, s.Hidden), o.zeros(tensor.BF16, s.Wide, s.Hidden)
			return func() error { return o.b.Dequant(w, q, 0) }
		}},
		{"rmsnorm", 4 * elements, 0, func(o *operands) func() error {
			x, w, y := o.random(tensor.BF16, rows, s.Hidden), o.random(tensor.BF16, s.Hidden), o.zeros(tensor.BF16, rows, s.Hidden)
			stats := o.zeros(tensor.F32, rows, 2)
			return func() error { return o.b.Norm(tensor.NormSpec{Eps: 1e-5}, y, stats, x, w, tensor.Tensor{}) }
		}},
		{"swiglu", 6 * elements, 0, func(o *operands) func() error {
			gate, up, y := o.random(tensor.BF16, rows, s.Hidden), o.random(tensor.BF16, rows, s.Hidden), o.zeros(tensor.BF16, rows, s.Hidden)
			g := tensor.GateSpec{Op: tensor.OpSiLU, Rows: rows, Cols: s.Hidden, StrideGate: s.Hidden, StrideUp: s.Hidden, StrideY: s.Hidden}
			return func() error { return o.b.Gate(g, y, gate, up) }
		}},
	}
}

// linear is a layer on m rows, in bfloat16 and on a weight in four bits as a training run computes it: without decoding for few rows,
// else decoded to memory and multiplied.
func (s Sizes) linear(b tensor.Backend, m int) []kernelCase {
	n := s.Hidden
	spec := tensor.GemmSpec{TransB: true, M: m, N: n, K: n, LDA: n, LDB: n, LDC: n, Alpha: 1}
	flops := 2 * float64(m) * float64(n) * float64(n)
	mul, few := b.(tensor.Quant4Multiplier)
	few = few && m <= mul.MulQuant4Rows(tensor.BF16)
	return []kernelCase{
		{fmt.Sprintf("linear M=%d", m), 0, flops, func(o *operands) func() error {
			x, w, y := o.random(tensor.BF16, m, n), o.random(tensor.BF16, n, n), o.zeros(tensor.BF16, m, n)
			return func() error { return o.b.Gemm(spec, y, x, w, tensor.Tensor{}) }
		}},
		{fmt.Sprintf("nf4 linear M=%d", m), 0, flops, func(o *operands) func() error {
			x, q, y := o.random(tensor.BF16, m, n), o.quant4(n, n), o.zeros(tensor.BF16, m, n)
			if few {
				return func() error { return mul.MulQuant4(y, x, q, tensor.Tensor{}, 0) }
			}
			w := o.zeros(tensor.BF16, n, n)
			return func() error { return errors.Join(o.b.Dequant(w, q, 0), o.b.Gemm(spec, y, x, w, tensor.Tensor{})) }
		}},
	}
}

// attention is causal, forward and backward, on packed sequences.
func (s Sizes) attention(name string, cu []int32) []kernelCase {
	width, longest, pairs := s.Heads*s.HeadDim, 0, 0.0
	for i := range len(cu) - 1 {
		n := int(cu[i+1] - cu[i])
		longest, pairs = max(longest, n), pairs+float64(n)*float64(n)/2
	}
	spec := tensor.AttnSpec{
		Seqs: len(cu) - 1, MaxQ: longest, MaxK: longest, Heads: s.Heads, KVHeads: s.Heads, HeadDim: s.HeadDim, StrideQ: width, StrideK: width, StrideV: width,
		StrideO: width, Causal: true, Scale: 0.1,
	}
	flops := 4 * pairs * float64(width)
	type inputs struct{ q, k, v, o, lse tensor.Tensor }
	forward := func(o *operands) (tensor.AttnSpec, inputs) {
		p := spec
		p.CuQ = o.ints(cu)
		p.CuK = p.CuQ
		one := func() tensor.Tensor { return o.random(tensor.BF16, s.Tokens, width) }
		return p, inputs{one(), one(), one(), o.zeros(tensor.BF16, s.Tokens, width), o.zeros(tensor.F32, s.Heads, s.Tokens)}
	}
	return []kernelCase{
		{"attention forward " + name, 0, flops, func(o *operands) func() error {
			p, x := forward(o)
			return func() error { return o.b.Attention(p, x.o, x.lse, x.q, x.k, x.v, tensor.Tensor{}) }
		}},
		{"attention backward " + name, 0, 2.5 * flops, func(o *operands) func() error {
			p, x := forward(o)
			do := o.random(tensor.BF16, s.Tokens, width)
			zero := func() tensor.Tensor { return o.zeros(tensor.BF16, s.Tokens, width) }
			dq, dk, dv, delta := zero(), zero(), zero(), o.zeros(tensor.F32, s.Heads, s.Tokens)
			if len(o.errs) == 0 {
				o.errs = append(o.errs, o.b.Attention(p, x.o, x.lse, x.q, x.k, x.v, tensor.Tensor{}))
			}
			return func() error {
				return o.b.AttentionBwd(p, dq, dk, dv, tensor.Tensor{}, do, x.o, x.lse, delta, x.q, x.k, x.v, tensor.Tensor{})
			}
		}},
	}
}
