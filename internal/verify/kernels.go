package verify

import (
	"errors"

	"github.com/mltrain/mltrain/internal/tensor"
)

// The kernels of a backend, each run on both.

type (
	ten  = tensor.Tensor
	on   = tensor.Backend
	move = func(tensor.Tensor) tensor.Tensor
)

func (s *shadow) Gemm(p tensor.GemmSpec, c, a, b, bias ten) error {
	return s.run("gemm", []arg{out("c", c), in("a", a), in("b", b), in("bias", bias)}, func(k on, f move) error { return k.Gemm(p, f(c), f(a), f(b), f(bias)) })
}

func (s *shadow) Unary(op tensor.UnaryOp, c float32, y, x ten) error {
	return s.run(op.String(), []arg{out("y", y), in("x", x)}, func(k on, f move) error { return k.Unary(op, c, f(y), f(x)) })
}

func (s *shadow) UnaryBwd(op tensor.UnaryOp, c float32, dx, dy, x ten, acc bool) error {
	return s.run(op.String()+" backward", []arg{out("dx", dx), in("dy", dy), in("x", x)}, func(k on, f move) error { return k.UnaryBwd(op, c, f(dx), f(dy), f(x), acc) })
}

func (s *shadow) Binary(op tensor.BinaryOp, y, a, b ten, acc bool) error {
	return s.run(op.String(), []arg{out("y", y), in("a", a), in("b", b)}, func(k on, f move) error { return k.Binary(op, f(y), f(a), f(b), acc) })
}

func (s *shadow) Gate(p tensor.GateSpec, y, gate, up ten) error {
	return s.run("gate", []arg{out("y", y), in("gate", gate), in("up", up)}, func(k on, f move) error { return k.Gate(p, f(y), f(gate), f(up)) })
}

func (s *shadow) GateBwd(p tensor.GateSpec, dgate, dup, dy, gate, up ten) error {
	return s.run("gate backward", []arg{out("dgate", dgate), out("dup", dup), in("dy", dy), in("gate", gate), in("up", up)}, func(k on, f move) error {
		return k.GateBwd(p, f(dgate), f(dup), f(dy), f(gate), f(up))
	})
}

func (s *shadow) Reduce(op tensor.ReduceOp, y, x ten, axis int, acc bool) error {
	return s.run("reduce "+op.String(), []arg{out("y", y), in("x", x)}, func(k on, f move) error { return k.Reduce(op, f(y), f(x), axis, acc) })
}

func (s *shadow) Norm(p tensor.NormSpec, y, stats, x, w, b ten) error {
	return s.run("norm", []arg{out("y", y), out("stats", stats), in("x", x), in("w", w), in("b", b)}, func(k on, f move) error {
		return k.Norm(p, f(y), f(stats), f(x), f(w), f(b))
	})
}

func (s *shadow) NormBwd(p tensor.NormSpec, dx, dw, db, dy, stats, x, w ten, acc bool) error {
	return s.run("norm backward", []arg{out("dx", dx), out("dw", dw), out("db", db), in("dy", dy), in("stats", stats), in("x", x), in("w", w)}, func(k on, f move) error {
		return k.NormBwd(p, f(dx), f(dw), f(db), f(dy), f(stats), f(x), f(w), acc)
	})
}

func (s *shadow) Rope(p tensor.RopeSpec, y, x, table, pos ten) error {
	return s.run("rope", []arg{out("y", y), in("x", x), in("table", table), in("pos", pos)}, func(k on, f move) error { return k.Rope(p, f(y), f(x), f(table), f(pos)) })
}

// attnOn moves the operands that an attention's description holds.
func attnOn(p tensor.AttnSpec, f move) tensor.AttnSpec {
	p.CuQ, p.CuK, p.UsedK = f(p.CuQ), f(p.CuK), f(p.UsedK)
	return p
}

func (s *shadow) Attention(p tensor.AttnSpec, o, lse, q, kk, v, bias ten) error {
	args := []arg{
		out("o", o), out("lse", lse), in("q", q), in("k", kk), in("v", v), in("bias", bias), in("CuQ", p.CuQ), in("CuK", p.CuK), in("UsedK", p.UsedK),
	}
	return s.run("attention", args, func(k on, f move) error { return k.Attention(attnOn(p, f), f(o), f(lse), f(q), f(kk), f(v), f(bias)) })
}

func (s *shadow) AttentionBwd(p tensor.AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, kk, v, bias ten) error {
	args := []arg{
		out("dq", dq), out("dk", dk), out("dv", dv), out("dbias", dbias), in("do", do), in("o", o), in("lse", lse), in("delta", delta), in("q", q), in("k", kk),
		in("v", v), in("bias", bias), in("CuQ", p.CuQ), in("CuK", p.CuK), in("UsedK", p.UsedK),
	}
	return s.run("attention backward", args, func(k on, f move) error {
		return k.AttentionBwd(attnOn(p, f), f(dq), f(dk), f(dv), f(dbias), f(do), f(o), f(lse), f(delta), f(q), f(kk), f(v), f(bias))
	})
}

func (s *shadow) Gather(y, table, ids ten) error {
	return s.run("gather", []arg{out("y", y), in("table", table), in("ids", ids)}, func(k on, f move) error { return k.Gather(f(y), f(table), f(ids)) })
}

func (s *shadow) ScatterAdd(dtable, dy, ids ten) error {
	return s.run("scatter-add", []arg{out("dtable", dtable), in("dy", dy), in("ids", ids)}, func(k on, f move) error { return k.ScatterAdd(f(dtable), f(dy), f(ids)) })
}

// quantOn moves the parts of a matrix in four bits.
func quantOn(q tensor.Quant4, f move) tensor.Quant4 {
	q.Codes, q.Absmax, q.AbsCodes, q.AbsScales, q.Map = f(q.Codes), f(q.Absmax), f(q.AbsCodes), f(q.AbsScales), f(q.Map)
	return q
}

func (s *shadow) Dequant(w ten, q tensor.Quant4, row int) error {
	args := []arg{out("w", w), in("codes", q.Codes), in("absmax", q.Absmax), in("absmax codes", q.AbsCodes), in("absmax scales", q.AbsScales), in("map", q.Map)}
	return s.run("dequantise", args, func(k on, f move) error {
		return k.Dequant(f(w), quantOn(q, f), row)
	})
}

func (s *shadow) MulQuant4Rows(x tensor.DType) int {
	if m, ok := s.Backend.(tensor.Quant4Multiplier); ok {
		return m.MulQuant4Rows(x)
	}
	return 0
}

// MulQuant4 is compared with decoding in float32 and a product on the reference.
func (s *shadow) MulQuant4(y, x ten, q tensor.Quant4, bias ten, beta float32) error {
	buf, err := s.ref.Alloc(int64(4*q.Rows*q.Cols), tensor.UseDataGrads)
	if err != nil {
		return err
	}
	defer s.ref.Free(buf)
	w := tensor.New(buf, 0, tensor.F32, q.Rows, q.Cols)
	p := tensor.GemmSpec{TransB: true, M: x.Rows(), N: q.Rows, K: q.Cols, LDA: q.Cols, LDB: q.Cols, LDC: q.Rows, Alpha: 1, Beta: beta}
	args := []arg{
		out("y", y), in("x", x), in("bias", bias), in("codes", q.Codes), in("absmax", q.Absmax), in("absmax codes", q.AbsCodes), in("absmax scales", q.AbsScales),
		in("map", q.Map),
	}
	return s.run("nf4 product", args, func(k on, f move) error {
		o := quantOn(q, f)
		if m, ok := k.(tensor.Quant4Multiplier); ok && k != s.ref {
			return m.MulQuant4(f(y), f(x), o, f(bias), beta)
		}
		return errors.Join(k.Dequant(w, o, 0), k.Gemm(p, f(y), f(x), w, f(bias)))
	})
}

func (s *shadow) PutRows(dst, src ten, stride int, rows ten) error {
	return s.run("put rows", []arg{out("dst", dst), in("src", src), in("rows", rows)}, func(k on, f move) error { return k.PutRows(f(dst), f(src), stride, f(rows)) })
}

func (s *shadow) CrossEntropy(p tensor.CESpec, rows, logits, targets ten) error {
	return s.run("cross-entropy", []arg{out("rows", rows), in("logits", logits), in("targets", targets)}, func(k on, f move) error {
		return k.CrossEntropy(p, f(rows), f(logits), f(targets))
	})
}

func (s *shadow) CrossEntropyBwd(p tensor.CESpec, dlogits, logits, rows, targets, drow ten) error {
	args := []arg{out("dlogits", dlogits), in("logits", logits), in("rows", rows), in("targets", targets), in("drow", drow)}
	return s.run("cross-entropy backward", args, func(k on, f move) error {
		return k.CrossEntropyBwd(p, f(dlogits), f(logits), f(rows), f(targets), f(drow))
	})
}

func (s *shadow) Dropout(y, x ten, p float32, key tensor.RNGKey, acc bool) error {
	return s.run("dropout", []arg{out("y", y), in("x", x)}, func(k on, f move) error { return k.Dropout(f(y), f(x), p, key, acc) })
}

func (s *shadow) SumSq(o, x ten, acc bool) error {
	return s.run("sum of squares", []arg{out("out", o), in("x", x)}, func(k on, f move) error { return k.SumSq(f(o), f(x), acc) })
}

func (s *shadow) ClipScale(o, sumsq ten, inv, maxNorm float32) error {
	return s.run("clip scale", []arg{out("out", o), in("sumsq", sumsq)}, func(k on, f move) error { return k.ClipScale(f(o), f(sumsq), inv, maxNorm) })
}

func (s *shadow) Optim(p tensor.OptSpec, segs []tensor.Segment, w, master, s1, s2, g, scale ten) error {
	args := []arg{out("w", w), out("master", master), out("s1", s1), out("s2", s2), in("g", g), in("scale", scale)}
	return s.run("optimiser", args, func(k on, f move) error { return k.Optim(p, segs, f(w), f(master), f(s1), f(s2), f(g), f(scale)) })
}

func (s *shadow) Copy(dst, src ten) error {
	return s.run("copy", []arg{out("dst", dst), in("src", src)}, func(k on, f move) error { return k.Copy(f(dst), f(src)) })
}

func (s *shadow) Zero(dst ten) error {
	return s.run("zero", []arg{out("dst", dst)}, func(k on, f move) error { return k.Zero(f(dst)) })
}
