package backendtest

import (
	"maps"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/tensor"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (l *list) crossEntropy() {
	specs := map[string]tensor.CESpec{
		"plain":  {IgnoreIndex: -100},
		"smooth": {IgnoreIndex: -100, Smoothing: 0.1},
		"cap":    {IgnoreIndex: -1, SoftCap: 3},
		"both":   {IgnoreIndex: 0, SoftCap: 5, Smoothing: 0.3},
	}
	for _, name := range sortedKeys(specs) {
		for _, shape := range [][2]int{{1, 1}, {5, 63}, {3, 1025}, {4, 136}} {
			l.add("CrossEntropyBwd", ceBwdCase(specs[name], tensor.BF16, tensor.F32, shape[0], shape[1], true, false), "%s/bfloat16 of float32/%v", name, shape)
		}
	}
	for _, dt := range activations {
		for _, name := range sortedKeys(specs) {
			for _, shape := range [][2]int{{1, 1}, {5, 63}, {65, 5}, {3, 1025}, {7, 5123}, {123, 300}, {4, 136}} {
				l.add("CrossEntropy", ceCase(specs[name], dt, shape[0], shape[1]), "%s/%v/%v", name, dt, shape)
				for _, weights := range []bool{false, true} {
					for _, inPlace := range []bool{false, true} {
						l.add("CrossEntropyBwd", ceBwdCase(specs[name], dt, dt, shape[0], shape[1], weights, inPlace), "%s/%v/%v/weights=%v/inplace=%v", name, dt, shape, weights, inPlace)
					}
				}
			}
		}
	}
}

// ceInputs makes logits and targets: some ignored, some the largest logit, and large logits in some rows.
func (e *Env) ceInputs(s tensor.CESpec, rows, vocab int) (logits []float64, targets []int32) {
	logits, targets = e.Rand(rows*vocab), e.indices(rows, vocab)
	for r := range rows {
		row := logits[r*vocab : (r+1)*vocab]
		for i := range row {
			row[i] *= []float64{1, 0.1, 6, 1}[r%4]
			row[i] += []float64{0, 100, 0, -50}[r%4]
		}
		switch {
		case r%3 == 1:
			targets[r] = s.IgnoreIndex
		case r%3 == 2:
			targets[r] = int32(slices.Index(row, slices.Max(row)))
		}
	}
	return logits, targets
}

func ceCase(s tensor.CESpec, dt tensor.DType, rows, vocab int) func(*Env) Job {
	return func(e *Env) Job {
		ls, ts := e.ceInputs(s, rows, vocab)
		logits, targets := e.In("logits", dt, ls, rows, vocab), e.Ints("targets", ts)
		out := e.Out("rows", tensor.F32, rows, tensor.CECols)
		return Job{
			Run:   func() error { return e.B.CrossEntropy(s, out, logits, targets) },
			Bytes: len(ls) * dt.Size(),
			Check: func() {
				got := e.Read(out)
				for r := range rows {
					row := ls[r*vocab : (r+1)*vocab]
					want := refCE(s, row, ts[r])
					// Errors are those of numbers as large as the logits, in units of the last place.
					bound := 1e-5 * math.Max(1, math.Abs(want[tensor.CELSE]))
					for i, w := range want {
						if i == tensor.CECorrect && s.SoftCap > 0 {
							continue // caps may tie in float32
						}
						if g := got[r*tensor.CECols+i]; !(math.Abs(g-w) <= bound) {
							e.TB.Errorf("row %d column %d is %v, want %v", r, i, g, w)
						}
					}
				}
			},
		}
	}
}

func ceBwdCase(s tensor.CESpec, gt, dt tensor.DType, rows, vocab int, weights, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		ls, ts := e.ceInputs(s, rows, vocab)
		var logits, dlogits, drow tensor.Tensor
		if inPlace {
			logits = e.InOut("logits", dt, ls, rows, vocab)
			dlogits = logits
		} else {
			logits, dlogits = e.In("logits", dt, ls, rows, vocab), e.Out("dlogits", gt, rows, vocab)
		}
		targets := e.Ints("targets", ts)
		var fw []float64
		for r := range rows {
			fw = append(fw, refCE(s, ls[r*vocab:(r+1)*vocab], ts[r])...)
		}
		in := e.In("rows", tensor.F32, fw, rows, tensor.CECols)
		ws := make([]float64, rows)
		for i := range ws {
			ws[i] = -1
		}
		if weights {
			ws = e.Rand(rows)
			drow = e.In("drow", tensor.F32, ws, rows)
		}
		return Job{
			Run:   func() error { return e.B.CrossEntropyBwd(s, dlogits, logits, in, targets, drow) },
			Bytes: 2 * len(ls) * dt.Size(),
			Check: func() {
				var want []float64
				for r := range rows {
					want = append(want, refCEBwd(s, ls[r*vocab:(r+1)*vocab], ts[r], ws[r])...)
				}
				if vocab == 1 { // the gradient is 0: the difference of equal numbers
					e.near(dlogits, want, 1e-5)
					return
				}
				// The log-sum-exp of logits around 100 is known to 4e-6, and so is the softmax.
				e.Expect(dlogits, want, 4*Tolerance(gt))
			},
		}
	}
}

func (l *list) optimisers() {
	specs := map[string]tensor.OptSpec{
		"sgd":          {Kind: tensor.SGD},
		"momentum":     {Kind: tensor.SGD, Momentum: 0.9},
		"nesterov":     {Kind: tensor.SGD, Momentum: 0.9, Nesterov: true},
		"adam":         {Kind: tensor.Adam, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8},
		"adamw":        {Kind: tensor.AdamW, Beta1: 0.9, Beta2: 0.95, Eps: 1e-6},
		"adamw/step 9": {Kind: tensor.AdamW, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 9},
		"lion":         {Kind: tensor.Lion, Beta1: 0.9, Beta2: 0.99},
	}
	for _, name := range sortedKeys(specs) {
		s := specs[name]
		s.Step = max(1, s.Step)
		for _, w := range []tensor.DType{tensor.Invalid, tensor.F32, tensor.BF16} {
			for _, scale := range []float64{1, 0.25, math.NaN(), math.Inf(1)} {
				for _, n := range []int{1, 123, 150_001} {
					if n < 1000 || scale == 0.25 {
						l.add("Optim", optimCase(s, tensor.F32, w, scale, n), "%s/w=%v/scale=%v/%d", name, w, scale, n)
					}
				}
			}
		}
		l.add("Optim", optimCase(s, tensor.BF16, tensor.BF16, 0.5, 300), "%s/bfloat16 gradient", name)
	}
	for _, c := range []struct {
		sumsq        float64
		inv, maxNorm float32
	}{{16, 0.5, 1}, {16, 0.5, 3}, {16, 0.5, 0}, {0, 1, 1}, {math.Inf(1), 1, 1}, {math.NaN(), 1, 0}} {
		l.add("ClipScale", func(e *Env) Job {
			sumsq, out := e.In("sumsq", tensor.F32, []float64{c.sumsq}, 1), e.Out("out", tensor.F32, 2)
			return Job{
				Run: func() error { return e.B.ClipScale(out, sumsq, c.inv, c.maxNorm) },
				Check: func() {
					norm, scale := math.Sqrt(c.sumsq)*float64(c.inv), float64(c.inv)
					if c.maxNorm > 0 {
						scale *= math.Min(1, float64(c.maxNorm)/(norm+1e-6))
					}
					if !finite(norm) {
						scale = math.NaN()
					}
					e.Expect(out, []float64{scale, norm}, Tolerance(tensor.F32))
				},
			}
		}, "%v/%v/%v", c.sumsq, c.inv, c.maxNorm)
	}
}

func optimCase(s tensor.OptSpec, gt, wt tensor.DType, scale float64, n int) func(*Env) Job {
	return func(e *Env) Job {
		// A hole between the segments stays as it is.
		var segs []tensor.Segment
		a, b := n/3, n/3+n/5
		segs = append(segs, tensor.Segment{Off: b, Len: n - b, LR: 0.01, WeightDecay: 0.1}, tensor.Segment{Off: 0, Len: a, LR: 0.1})
		ps, gs := e.Rand(n), e.Rand(n)
		for i := range gs {
			gs[i] *= 0.1
			if i%10 == 7 {
				gs[i] = 0
			}
		}
		master, g := e.InOut("master", tensor.F32, ps, n), e.In("g", gt, gs, n)
		sc := e.In("scale", tensor.F32, []float64{scale}, 1)
		var w, s1, s2 tensor.Tensor
		ms, vs := make([]float64, n), make([]float64, n)
		if s.Kind != tensor.SGD || s.Momentum != 0 {
			if s.Step > 1 {
				ms = e.Rand(n)
			}
			s1 = e.InOut("s1", tensor.F32, ms, n)
		}
		if s.Kind == tensor.Adam || s.Kind == tensor.AdamW {
			if s.Step > 1 {
				vs = e.Rand(n)
				for i := range vs {
					vs[i] *= vs[i]
				}
			}
			s2 = e.InOut("s2", tensor.F32, vs, n)
		}
		if wt != tensor.Invalid {
			w = e.Out("w", wt, n)
		}
		return Job{
			Run:   func() error { return e.B.Optim(s, segs, w, master, s1, s2, g, sc) },
			Bytes: n * 28,
			Check: func() {
				wantW := make([]float64, n)
				for i := range wantW {
					wantW[i] = Untouched
				}
				if finite(scale) {
					b1, b2 := decimal(s.Beta1), decimal(s.Beta2)
					for _, seg := range segs {
						lr, wd := decimal(seg.LR), decimal(seg.WeightDecay)
						for i := seg.Off; i < seg.Off+seg.Len; i++ {
							ps[i], ms[i], vs[i] = refOptim(s, lr, wd, b1, b2, ps[i], ms[i], vs[i], gs[i]*scale)
							wantW[i] = ps[i]
						}
					}
				}
				e.Expect(master, ps, Tolerance(tensor.F32))
				if wt != tensor.Invalid {
					e.Expect(w, wantW, Tolerance(wt))
				}
				if !s1.IsZero() {
					e.Expect(s1, ms, Tolerance(tensor.F32))
				}
				if !s2.IsZero() {
					e.Expect(s2, vs, 2*Tolerance(tensor.F32))
				}
			},
		}
	}
}
