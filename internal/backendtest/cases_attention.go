package backendtest

import (
	"fmt"
	"maps"
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// attnShape is an attention problem in numbers: lengths of queries, of keys, and of keys in use (nil: all).
type attnShape struct {
	tensor.AttnSpec
	nq, nk, used []int
	fused        bool // q, k and v are parts of one buffer (then nq = nk)
	extra        int  // rows of q that belong to no sequence
	aligned      bool // all rows begin at multiples of 16 bytes in bfloat16
	bias         int  // heads of the bias; 0 for none
	biasN        int  // positions of the bias
}

// Shapes for kernels that work on aligned rows in tiles of 32 to 128: odd lengths around them, all options.
func alignedShapes() map[string]attnShape {
	m := map[string]attnShape{}
	add := func(name string, heads, kv, dim int, nq, nk []int, set ...func(s *attnShape)) {
		s := attnShape{AttnSpec: tensor.AttnSpec{Heads: heads, KVHeads: kv, HeadDim: dim, Causal: true, Scale: 0.3}, nq: nq, nk: nk, aligned: true}
		for _, f := range set {
			f(&s)
		}
		m["aligned "+name] = s
	}
	n := func(n ...int) []int { return n }
	window := func(w int) func(*attnShape) { return func(s *attnShape) { s.Window = w } }
	full := func(s *attnShape) { s.Causal = false }
	softCap := func(s *attnShape) { s.SoftCap = 2.5 }
	dropout := func(s *attnShape) { s.Dropout, s.Key = 0.25, testKey }
	add("one", 1, 1, 8, n(1), n(1))
	add("8", 2, 1, 8, n(131, 1, 64), n(131, 1, 64))
	add("40", 1, 1, 40, n(70, 3), n(70, 9))
	add("64", 1, 1, 64, n(150), n(211))
	add("96", 1, 1, 96, n(67), n(67))
	add("128", 1, 1, 128, n(130), n(130))
	add("192", 1, 1, 192, n(35), n(35))
	add("256", 1, 1, 256, n(66), n(70))
	add("fused", 2, 1, 64, n(17, 66), n(17, 66), func(s *attnShape) { s.fused = true })
	add("group", 6, 2, 32, n(40, 9), n(40, 9))
	add("empty", 1, 1, 16, n(0, 7, 0, 5, 3), n(4, 0, 0, 5, 9))
	add("long query", 1, 1, 32, n(140, 5), n(70, 3))
	add("full", 2, 1, 16, n(65, 30), n(65, 100), full)
	add("full window", 1, 1, 32, n(150), n(140), full, window(9))
	for _, w := range []int{1, 70} {
		add(fmt.Sprintf("window %d", w), 1, 1, 32, n(200), n(210), window(w))
	}
	add("softcap", 2, 1, 64, n(80, 20), n(80, 33), softCap, window(40))
	add("dropout", 2, 1, 16, n(70, 21), n(70, 33), dropout)
	add("all", 4, 2, 128, n(70, 21, 0), n(80, 33, 7), softCap, dropout, window(50), func(s *attnShape) { s.used, s.extra = n(75, 30, 5), 2 })
	return m
}

func attnShapes() map[string]attnShape {
	spec := func(heads, kv, dim int) tensor.AttnSpec {
		return tensor.AttnSpec{Heads: heads, KVHeads: kv, HeadDim: dim, Causal: true, Scale: 0.3}
	}
	with := func(s tensor.AttnSpec, f func(s *tensor.AttnSpec)) tensor.AttnSpec { f(&s); return s }
	same := func(n ...int) []int { return n }
	m := map[string]attnShape{
		"one":        {AttnSpec: spec(1, 1, 1), nq: same(1), nk: same(1)},
		"tiny":       {AttnSpec: spec(1, 1, 5), nq: same(5), nk: same(5)},
		"packed":     {AttnSpec: spec(2, 2, 16), nq: same(1, 63, 65, 3), nk: same(1, 63, 65, 3)},
		"fused":      {AttnSpec: spec(4, 2, 16), nq: same(17, 123), nk: same(17, 123), fused: true},
		"gqa":        {AttnSpec: spec(6, 2, 20), nq: same(70, 31), nk: same(70, 31)},
		"mqa":        {AttnSpec: spec(9, 1, 32), nq: same(33), nk: same(33)},
		"wide group": {AttnSpec: spec(71, 1, 8), nq: same(9), nk: same(9)},
		"empty":      {AttnSpec: spec(2, 1, 24), nq: same(0, 7, 0, 5, 3), nk: same(4, 0, 0, 5, 9)},
		"tail":       {AttnSpec: spec(2, 1, 16), nq: same(7, 5), nk: same(7, 5), extra: 3},
		"decode":     {AttnSpec: spec(6, 2, 64), nq: same(1, 1, 1), nk: same(300, 200, 77)},
		"cache":      {AttnSpec: spec(6, 2, 16), nq: same(1, 4, 1), nk: same(96, 96, 96), used: []int{1, 90, 96}},
		"long keys":  {AttnSpec: spec(3, 1, 16), nq: same(5, 70), nk: same(200, 201)},
		"long query": {AttnSpec: spec(3, 1, 16), nq: same(90, 5), nk: same(13, 3)},
		"head 128":   {AttnSpec: spec(2, 1, 128), nq: same(65), nk: same(65)},
		"head 80":    {AttnSpec: spec(2, 1, 80), nq: same(40), nk: same(40)},
		"head 256":   {AttnSpec: spec(2, 2, 256), nq: same(70), nk: same(70)},
	}
	full := spec(4, 2, 18)
	full.Causal = false
	m["full"] = attnShape{AttnSpec: full, nq: same(65, 30), nk: same(65, 100)}
	m["full empty"] = attnShape{AttnSpec: full, nq: same(6, 7), nk: same(0, 5)}
	m["full window"] = attnShape{AttnSpec: with(full, func(s *tensor.AttnSpec) { s.Window = 9 }), nq: same(65, 30), nk: same(65, 100)}
	for _, w := range []int{1, 7, 64, 1000} {
		m[fmt.Sprintf("window %d", w)] = attnShape{AttnSpec: with(spec(4, 2, 18), func(s *tensor.AttnSpec) { s.Window = w }), nq: same(150, 20), nk: same(150, 40)}
	}
	m["softcap"] = attnShape{AttnSpec: with(spec(4, 2, 32), func(s *tensor.AttnSpec) { s.SoftCap = 2.5; s.Window = 40 }), nq: same(80, 20), nk: same(80, 33)}
	m["dropout"] = attnShape{AttnSpec: with(spec(4, 2, 16), func(s *tensor.AttnSpec) { s.Dropout = 0.25; s.Key = testKey }), nq: same(70, 21), nk: same(70, 33)}
	m["all"] = attnShape{AttnSpec: with(spec(6, 2, 48), func(s *tensor.AttnSpec) {
		s.Dropout, s.Key, s.SoftCap, s.Window = 0.25, testKey, 4, 50
	}), nq: same(100, 21, 0), nk: same(100, 33, 7), used: []int{100, 30, 5}, extra: 2}
	return m
}

// biasShapes are attention problems with a bias: no more queries than keys.
func biasShapes() map[string]attnShape {
	m := map[string]attnShape{}
	add := func(name string, heads, kv, dim, bias, extra int, nq, nk []int, set ...func(s *attnShape)) {
		s := attnShape{AttnSpec: tensor.AttnSpec{Heads: heads, KVHeads: kv, HeadDim: dim, Causal: true, Scale: 0.3}, nq: nq, nk: nk, bias: bias}
		for _, n := range nk {
			s.biasN = max(s.biasN, n+extra)
		}
		for _, f := range set {
			f(&s)
		}
		m["bias "+name] = s
	}
	n := func(n ...int) []int { return n }
	full := func(s *attnShape) { s.Causal = false }
	fused := func(s *attnShape) { s.fused = true }
	aligned := func(s *attnShape) { s.aligned = true }
	softCap := func(s *attnShape) { s.SoftCap = 2.5 }
	dropout := func(s *attnShape) { s.Dropout, s.Key = 0.25, testKey }
	window := func(s *attnShape) { s.Window = 40 }
	add("one", 1, 1, 1, 1, 0, n(1), n(1))
	add("tiny", 2, 2, 5, 2, 3, n(5, 2), n(5, 2))
	add("packed", 3, 3, 16, 3, 0, n(1, 63, 65, 3), n(1, 63, 65, 3))
	add("full", 4, 2, 18, 4, 1, n(65, 30, 0), n(65, 100, 2), full)
	add("shared", 6, 2, 20, 1, 0, n(70, 31), n(70, 31))
	add("shared full", 3, 1, 16, 1, 5, n(5, 70), n(200, 201), full, window)
	add("fused", 4, 2, 16, 4, 2, n(17, 83), n(17, 83), fused)
	add("decode", 3, 1, 64, 3, 0, n(1, 1, 1), n(200, 150, 77))
	add("decode shared", 2, 1, 32, 1, 9, n(1, 1, 2), n(30, 20, 77), window)
	add("cache", 6, 2, 16, 6, 0, n(1, 4, 1), n(96, 96, 96), func(s *attnShape) { s.used = []int{1, 90, 96} })
	add("window", 4, 2, 24, 4, 0, n(100, 20), n(100, 40), window)
	add("softcap", 4, 2, 32, 4, 0, n(80, 20), n(80, 33), softCap, window)
	add("dropout", 4, 2, 16, 4, 0, n(70, 21), n(70, 33), dropout)
	add("aligned 64", 2, 1, 64, 2, 0, n(140, 40), n(140, 77), aligned)
	add("aligned full 128", 2, 2, 128, 2, 1, n(35, 20), n(35, 20), full, aligned)
	add("aligned 24", 2, 1, 24, 2, 0, n(70, 9), n(77, 9), aligned)
	add("aligned shared 256", 2, 1, 256, 1, 0, n(20, 9), n(37, 9), aligned)
	all := func(s *attnShape) { s.used, s.extra = n(100, 30, 5), 2 }
	add("all", 3, 1, 48, 3, 3, n(100, 21, 0), n(100, 33, 7), softCap, dropout, window, all)
	add("aligned all", 3, 1, 64, 3, 3, n(100, 21, 0), n(100, 33, 7), softCap, dropout, window, all, aligned)
	return m
}

func (l *list) attention() {
	shapes := attnShapes()
	maps.Copy(shapes, biasShapes())
	for _, dt := range activations {
		for _, name := range sortedKeys(shapes) {
			l.add("Attention", attnCase(shapes[name], dt), "%s/%v", name, dt)
			l.add("AttentionBwd", attnBwdCase(shapes[name], dt), "%s/%v", name, dt)
		}
	}
	shapes = alignedShapes()
	for _, name := range sortedKeys(shapes) {
		l.add("Attention", attnCase(shapes[name], tensor.BF16), "%s/%v", name, tensor.BF16)
		l.add("AttentionBwd", attnBwdCase(shapes[name], tensor.BF16), "%s/%v", name, tensor.BF16)
	}
}

// window is q, k, v or a gradient of them: rows of width elements, stride apart, in t.
type window struct {
	t             tensor.Tensor
	width, stride int
	off           int // elements before the first
}

func (w window) tensor() tensor.Tensor { return w.t.Slice(w.off, w.t.Len()) }

// dense returns the rows without gaps.
func (w window) dense(vals []float64) []float64 {
	var out []float64
	for at := w.off; at+w.width <= len(vals); at += w.stride {
		out = append(out, vals[at:at+w.width]...)
	}
	return out
}

// spread writes dense rows into vals.
func (w window) spread(vals, dense []float64) {
	for i := 0; i*w.width < len(dense); i++ {
		copy(vals[w.off+i*w.stride:], dense[i*w.width:(i+1)*w.width])
	}
}

// attnOperands are the operands of an attention case.
type attnOperands struct {
	attention
	qw, kw, vw window
	o          window
	biasT      tensor.Tensor
}

func (e *Env) attn(a attnShape, dt tensor.DType) *attnOperands {
	x := &attnOperands{}
	x.AttnSpec = a.AttnSpec
	x.Seqs = len(a.nq)
	x.cuQ, x.cuK = []int32{0}, []int32{0}
	for i := range a.nq {
		x.cuQ, x.cuK = append(x.cuQ, x.cuQ[i]+int32(a.nq[i])), append(x.cuK, x.cuK[i]+int32(a.nk[i]))
		x.MaxQ, x.MaxK = max(x.MaxQ, a.nq[i]), max(x.MaxK, a.nk[i])
	}
	x.CuQ, x.CuK = e.Ints("CuQ", x.cuQ), e.Ints("CuK", x.cuK)
	if a.used != nil {
		for _, n := range a.used {
			x.usedK = append(x.usedK, int32(n))
		}
		x.UsedK = e.Ints("UsedK", x.usedK)
	}
	rowsQ, rowsK := int(x.cuQ[x.Seqs])+a.extra, int(x.cuK[x.Seqs])
	wq, wk := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	x.qw, x.kw, x.vw = window{width: wq, stride: wq + 4}, window{width: wk, stride: wk}, window{width: wk, stride: wk + 7}
	x.o = window{width: wq, stride: wq + 2}
	if a.aligned {
		x.qw.stride, x.vw.stride, x.o.stride = wq+8, wk+16, wq+24
	}
	if a.fused {
		all := wq + 2*wk
		x.qw.stride, x.kw.stride, x.vw.stride = all, all, all
		x.kw.off, x.vw.off = wq, wq+wk
		vals := e.Rand(rowsQ * all)
		t := e.In("qkv", dt, vals, len(vals))
		x.qw.t, x.kw.t, x.vw.t = t, t, t
		x.q, x.k, x.v = x.qw.dense(vals), x.kw.dense(vals), x.vw.dense(vals)
	} else {
		for _, p := range []struct {
			name string
			w    *window
			rows int
			vals *[]float64
		}{{"q", &x.qw, rowsQ, &x.q}, {"k", &x.kw, rowsK, &x.k}, {"v", &x.vw, rowsK, &x.v}} {
			vals := e.Rand(p.rows * p.w.stride)
			p.w.t = e.In(p.name, dt, vals, len(vals))
			*p.vals = p.w.dense(vals)
		}
	}
	if a.bias > 0 {
		x.biasHeads, x.biasN = a.bias, a.biasN
		x.bias = e.Rand(a.bias * a.biasN * a.biasN)
		for i := 5; i < len(x.bias); i += 11 {
			x.bias[i] = math.Inf(-1)
		}
		x.biasT = e.In("bias", tensor.F32, x.bias, a.bias, a.biasN, a.biasN)
	}
	x.StrideQ, x.StrideK, x.StrideV, x.StrideO = x.qw.stride, x.kw.stride, x.vw.stride, x.o.stride
	return x
}

func (a *attention) flops() float64 {
	pairs := 0
	a.each(func(s, i, h int) {
		nq, nk := int(a.cuQ[s+1]-a.cuQ[s]), a.keys(s)
		if a.Causal {
			nk = max(0, min(nk, i+nk-nq+1))
		}
		if a.Window > 0 {
			nk = min(nk, a.Window)
		}
		pairs += nk
	})
	return 4 * float64(pairs) * float64(a.HeadDim)
}

func attnCase(shape attnShape, dt tensor.DType) func(*Env) Job {
	return func(e *Env) Job {
		x := e.attn(shape, dt)
		rows := x.totalQ()
		o, lse := e.Out("o", dt, rows*x.o.stride), e.Out("lse", tensor.F32, x.Heads, rows)
		return Job{
			Run: func() error {
				return e.B.Attention(x.AttnSpec, o, lse, x.qw.tensor(), x.kw.tensor(), x.vw.tensor(), x.biasT)
			},
			Flops: x.flops(),
			Check: func() {
				wantO, wantL := x.forward()
				all := gaps(rows, x.o.width, x.o.stride)
				x.o.spread(all, wantO)
				e.Expect(o, all, 2*Tolerance(dt))
				e.Expect(lse, wantL, 2*Tolerance(tensor.F32))
			},
		}
	}
}

func attnBwdCase(shape attnShape, dt tensor.DType) func(*Env) Job {
	return func(e *Env) Job {
		x := e.attn(shape, dt)
		rows := x.totalQ()
		ws, wl := x.forward()
		os := make([]float64, rows*x.o.stride)
		x.o.spread(os, ws)
		dos := e.Rand(rows * x.o.stride)
		o, do, lse := e.In("o", dt, os, len(os)), e.In("do", dt, dos, len(dos)), e.In("lse", tensor.F32, wl, x.Heads, rows)
		delta := e.Out("delta", tensor.F32, x.Heads, rows)
		dq, dk, dv := x.qw, x.kw, x.vw
		if shape.fused {
			t := e.Out("dqkv", dt, x.qw.t.Len())
			dq.t, dk.t, dv.t = t, t, t
		} else {
			dq.t, dk.t, dv.t = e.Out("dq", dt, x.qw.t.Len()), e.Out("dk", dt, x.kw.t.Len()), e.Out("dv", dt, x.vw.t.Len())
		}
		var dbias tensor.Tensor
		var had []float64
		if x.bias != nil {
			dbias, had = e.AccOut("dbias", tensor.F32, true, x.biasHeads, x.biasN, x.biasN)
		}
		return Job{
			Run: func() error {
				return e.B.AttentionBwd(x.AttnSpec, dq.tensor(), dk.tensor(), dv.tensor(), dbias, do, o, lse, delta, x.qw.tensor(), x.kw.tensor(), x.vw.tensor(), x.biasT)
			},
			Flops: 2.5 * x.flops(),
			Check: func() {
				doDense := x.o.dense(dos)
				clear(doDense[int(x.cuQ[x.Seqs])*x.o.width:])
				wq, wk, wv, wb := x.backward(doDense)
				if x.bias != nil {
					for i := range wb {
						wb[i] += had[i]
					}
					e.Expect(dbias, wb, 4*Tolerance(dt))
				}
				if shape.fused {
					all := make([]float64, dq.t.Len())
					dq.spread(all, wq)
					dk.spread(all, wk)
					dv.spread(all, wv)
					e.expect(dq.t, all, 4*Tolerance(dt), 0.1)
					return
				}
				for _, p := range []struct {
					w    window
					want []float64
				}{{dq, wq}, {dk, wk}, {dv, wv}} {
					all := gaps(len(p.want)/p.w.width, p.w.width, p.w.stride)
					p.w.spread(all, p.want)
					e.expect(p.w.t, all, 4*Tolerance(dt), 0.1) // with one key to see, dq and dk are 0
				}
			},
		}
	}
}
