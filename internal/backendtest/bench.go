package backendtest

import "github.com/mltrain/mltrain/internal/tensor"

// benchCases are cases at the shapes of a 135M-parameter model on 512 tokens: hidden size 576, 9 heads on 3 of 64
// elements, 1536 wide, 49152 words.
func benchCases() []Case {
	const tokens, hidden, wide, vocab = 512, 576, 1536, 49152
	var l list
	for _, dt := range activations {
		for _, op := range []tensor.UnaryOp{tensor.OpSiLU, tensor.OpGELU, tensor.OpGELUTanh, tensor.OpTanh} {
			l.add("Unary", unaryCase(op, dt, tokens*wide, false), "%v/%v", op, dt)
			l.add("UnaryBwd", unaryBwdCase(op, dt, tokens*wide, false, false), "%v/%v", op, dt)
		}
		l.add("Binary", binaryCase(tensor.OpAdd, dt, tokens, hidden, "same", false, false), "add/%v", dt)
		l.add("Gate", gateCase(tensor.OpSiLU, dt, tokens, wide, true), "silu/%v", dt)
		l.add("GateBwd", gateBwdCase(tensor.OpSiLU, dt, tokens, wide, true, false), "silu/%v", dt)
		l.add("Reduce", reduceCase(tensor.ReduceSum, dt, tokens, hidden, 0, true), "sum/axis 0/%v", dt)
		for _, kind := range []string{"rms", "layer"} {
			l.add("Norm", normCase(normSpecs[kind], dt, tokens, hidden, false), "%s/%v", kind, dt)
			l.add("NormBwd", normBwdCase(normSpecs[kind], dt, tokens, hidden, true, false, false), "%s/%v", kind, dt)
		}
		l.add("Rope", ropeCase(tensor.RopeSpec{Heads: 9, HeadDim: 64, RotaryDim: 64, Sign: 1}, dt, tokens, 6, 1, false), "%v", dt)
		spec := tensor.AttnSpec{Heads: 9, KVHeads: 3, HeadDim: 64, Causal: true, Scale: 0.125}
		for name, s := range map[string]attnShape{
			"train 512":   {AttnSpec: spec, nq: []int{tokens}, nk: []int{tokens}, fused: true},
			"train 8x64":  {AttnSpec: spec, nq: []int{64, 64, 64, 64, 64, 64, 64, 64}, nk: []int{64, 64, 64, 64, 64, 64, 64, 64}, fused: true},
			"decode 2048": {AttnSpec: spec, nq: []int{1}, nk: []int{2048}},
		} {
			l.add("Attention", attnCase(s, dt), "%s/%v", name, dt)
			if s.nq[0] > 1 {
				l.add("AttentionBwd", attnBwdCase(s, dt), "%s/%v", name, dt)
			}
		}
		l.add("Gather", gatherCase(dt, dt, 5000, tokens, hidden), "%v", dt)
		l.add("Dequant", dequantCase(dt, true, wide, hidden, 0, wide), "%v", dt)
		l.add("ScatterAdd", scatterCase(tensor.F32, dt, 5000, tokens, hidden), "%v", dt)
		l.add("PutRows", putRowsCase(dt, dt, 2048, tokens, 192, 5), "%v", dt)
		l.add("CrossEntropy", ceCase(tensor.CESpec{IgnoreIndex: -100}, dt, 64, vocab), "%v", dt)
		l.add("CrossEntropyBwd", ceBwdCase(tensor.CESpec{IgnoreIndex: -100}, dt, dt, 64, vocab, false, false), "%v", dt)
		l.add("Dropout", dropoutCase(dt, tokens*hidden, 0.1, false, false), "%v", dt)
		l.add("SumSq", sumSqCase(dt, 4<<20, false), "%v", dt)
	}
	f := tensor.F32
	for _, dt := range [][3]tensor.DType{{f, f, f}, {tensor.BF16, tensor.BF16, tensor.BF16}} {
		l.add("Gemm", gemmCase(tensor.GemmSpec{M: tokens, N: wide, K: hidden, TransB: true, Alpha: 1}, dt, false, 0), "up/%v", dt[0])
		l.add("Gemm", gemmCase(tensor.GemmSpec{M: tokens, N: hidden, K: wide, TransB: true, Alpha: 1}, dt, false, 0), "down/%v", dt[0])
	}
	adamw := tensor.OptSpec{Kind: tensor.AdamW, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 9}
	l.add("Optim", optimCase(adamw, f, tensor.Invalid, 1, 4<<20), "adamw/float32")
	l.add("Optim", optimCase(adamw, f, tensor.BF16, 1, 4<<20), "adamw/bfloat16 copy")
	l.add("Copy", copyCase(f, tensor.BF16, 4<<20), "float32 to bfloat16")
	l.add("Copy", copyCase(tensor.BF16, f, 4<<20), "bfloat16 to float32")
	return l.cases
}
