package gpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

func (c *call) unaryOp(op tensor.UnaryOp, k float32) {
	c.require(op < tensor.NumUnaryOps, "unknown function %v", op)
	c.require(op != tensor.OpSoftcap || k > 0, "softcap %v, want a positive one", k)
	c.require(op != tensor.OpRsqrt || k >= 0, "rsqrt with %v, want 0 or more", k)
}

// Unary computes y = op(x); y may be x.
func (b *Backend) Unary(op tensor.UnaryOp, k float32, y, x tensor.Tensor) error {
	c := call{b: b, kernel: fmt.Sprintf("unary %v", op)}
	c.unaryOp(op, k)
	n, t := x.Len(), c.activation("x", x)
	c.length("y", y, n)
	c.pieces("elementwise", "unary_"+t, n, x.DType, int32(op), k, c.typed("y", y, x.DType, n, true), c.window("x", x, n, false), int64(n))
	return c.err
}

// UnaryBwd computes dx = dy·op'(x); dx may be dy.
func (b *Backend) UnaryBwd(op tensor.UnaryOp, k float32, dx, dy, x tensor.Tensor, acc bool) error {
	c := call{b: b, kernel: fmt.Sprintf("unary backward %v", op)}
	c.unaryOp(op, k)
	n, t := x.Len(), c.activation("x", x)
	c.length("dx", dx, n)
	c.length("dy", dy, n)
	c.pieces("elementwise", "unary_bwd_"+t, n, x.DType, int32(op), k, c.typed("dx", dx, x.DType, n, true), c.typed("dy", dy, x.DType, n, false),
		c.window("x", x, n, false), int64(n), flag(acc))
	return c.err
}

// Binary computes y = a op b; b has a's shape, or is a row or a column of a seen as a matrix. y may be a.
func (b *Backend) Binary(op tensor.BinaryOp, y, a, x tensor.Tensor, acc bool) error {
	c := call{b: b, kernel: "binary"}
	c.require(op < tensor.NumBinaryOps, "unknown function %d", op)
	n, rows, cols := a.Len(), a.Rows(), a.Cols()
	mode := int32(0)
	switch m := x.Len(); {
	case m == n:
	case m == cols && x.Rows() == 1:
		mode = 1
	case m == rows && x.Cols() == 1:
		mode = 2
	default:
		c.fail("b is %v, want the shape of a %v, a row of %d or a column of %d", x, a, cols, rows)
	}
	c.length("y", y, n)
	t := c.activation("a", a)
	c.pieces("elementwise", "binary_"+t, n, a.DType, int32(op), c.typed("y", y, a.DType, n, true), c.window("a", a, n, false),
		c.float("b", x, x.Len(), false), int64(n), c.i32of(cols), mode, code(x), flag(acc))
	return c.err
}

// gateOp refuses functions with a constant: a GateSpec has none.
func (c *call) gateOp(op tensor.UnaryOp) {
	c.unaryOp(op, 1)
	c.require(op != tensor.OpSoftcap && op != tensor.OpScale && op != tensor.OpRsqrt, "function %v needs a constant", op)
}

// Gate computes y = op(gate)·up.
func (b *Backend) Gate(s tensor.GateSpec, y, gate, up tensor.Tensor) error {
	c := call{b: b, kernel: fmt.Sprintf("gate %v", s.Op)}
	c.gateOp(s.Op)
	t, dt := c.activation("gate", gate), gate.DType
	yp := c.strided("y", y, dt, s.Rows, s.Cols, s.StrideY, true)
	gp := c.strided("gate", gate, dt, s.Rows, s.Cols, s.StrideGate, false)
	up1 := c.strided("up", up, dt, s.Rows, s.Cols, s.StrideUp, false)
	c.pieces("elementwise", "gate_"+t, s.Rows*s.Cols, dt, int32(s.Op), yp, gp, up1, int64(s.Rows), c.i32of(s.Cols),
		int64(s.StrideY), int64(s.StrideGate), int64(s.StrideUp))
	return c.err
}

// GateBwd computes dgate = dy·up·op'(gate) and dup = dy·op(gate); dgate may be gate and dup may be up.
func (b *Backend) GateBwd(s tensor.GateSpec, dgate, dup, dy, gate, up tensor.Tensor) error {
	c := call{b: b, kernel: fmt.Sprintf("gate backward %v", s.Op)}
	c.gateOp(s.Op)
	t, dt := c.activation("gate", gate), gate.DType
	dg := c.strided("dgate", dgate, dt, s.Rows, s.Cols, s.StrideGate, true)
	du := c.strided("dup", dup, dt, s.Rows, s.Cols, s.StrideUp, true)
	dyp := c.strided("dy", dy, dt, s.Rows, s.Cols, s.StrideY, false)
	gp := c.strided("gate", gate, dt, s.Rows, s.Cols, s.StrideGate, false)
	upp := c.strided("up", up, dt, s.Rows, s.Cols, s.StrideUp, false)
	c.pieces("elementwise", "gate_bwd_"+t, s.Rows*s.Cols, dt, int32(s.Op), dg, du, dyp, gp, upp, int64(s.Rows), c.i32of(s.Cols),
		int64(s.StrideY), int64(s.StrideGate), int64(s.StrideUp))
	return c.err
}

// Dropout computes y = x/(1−p) where key keeps an element and 0 elsewhere (+= if acc); y may be x.
func (b *Backend) Dropout(y, x tensor.Tensor, p float32, key tensor.RNGKey, acc bool) error {
	c := call{b: b, kernel: "dropout"}
	c.require(p >= 0 && p < 1, "probability %v, want 0 ≤ p < 1", p)
	n, t := x.Len(), c.activation("x", x)
	c.length("y", y, n)
	c.pieces("elementwise", "dropout_"+t, n, x.DType, c.typed("y", y, x.DType, n, true), c.window("x", x, n, false), int64(n),
		tensor.DropThreshold(p), 1/(1-p), key.Seed, key.Micro, key.Op, flag(acc))
	return c.err
}
