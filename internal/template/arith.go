package template

import (
	"math"
	"math/big"
	"strings"
)

// maxIntBits bounds the size of Python's unbounded integers.
const maxIntBits = 4096

// normInt makes an int64 of a big integer that fits.
func normInt(n *big.Int) Value {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func toBig(v Value) *big.Int {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v)
	case *big.Int:
		return v
	}
	return new(big.Int)
}

func toFloat(v Value) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	return 0
}

func unaryOp(op string, v Value) (Value, error) {
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	n, ok := number(v)
	if !ok {
		return nil, failf("bad operand type for unary %s: '%s'", op, typeName(v))
	}
	if op == "+" {
		return n, nil
	}
	if f, ok := n.(float64); ok {
		return -f, nil
	}
	return normInt(new(big.Int).Neg(toBig(n))), nil
}

func (in *interp) binaryOp(op string, a, b Value) (Value, error) {
	for _, v := range []Value{a, b} {
		if u, ok := v.(undefined); ok {
			if s, ok := strOf(a); ok && op == "%" {
				return in.percent(a, s, b)
			}
			return nil, undefinedError(u)
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return arith(op, x, y)
		}
	}
	switch op {
	case "+":
		if v, ok, err := in.add(a, b); ok || err != nil {
			return v, err
		}
	case "*":
		if v, ok, err := in.repeat(a, b); ok || err != nil {
			return v, err
		}
	case "%":
		if s, ok := strOf(a); ok {
			return in.percent(a, s, b)
		}
	}
	if x, isStr := strOf(a); isStr && op == "+" {
		return nil, failf("can only concatenate str (not \"%s\") to str%s", typeName(b), excerpt(x))
	}
	return nil, failf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

func excerpt(s string) string {
	if s == "" {
		return ""
	}
	r := []rune(s)
	if len(r) > 30 {
		r = append(r[:30], '…')
	}
	return " " + quote(string(r))
}

func (in *interp) add(a, b Value) (Value, bool, error) {
	if x, ok := strOf(a); ok {
		y, ok := strOf(b)
		if !ok {
			return nil, false, nil
		}
		_, safeA := a.(markup)
		_, safeB := b.(markup)
		if safeA != safeB {
			if safeA {
				y = escapeHTML(y)
			} else {
				x = escapeHTML(x)
			}
		}
		if err := in.chargeBytes(len(x) + len(y)); err != nil {
			return nil, true, err
		}
		if safeA || safeB {
			return markup(x + y), true, nil
		}
		return x + y, true, nil
	}
	_, listA := a.([]Value)
	_, listB := b.([]Value)
	x, okA := seqOf(a)
	y, okB := seqOf(b)
	if !okA || !okB || listA != listB {
		return nil, false, nil
	}
	if err := in.chargeBytes(16 * (len(x) + len(y))); err != nil {
		return nil, true, err
	}
	out := append(append(make([]Value, 0, len(x)+len(y)), x...), y...)
	if listA {
		return out, true, nil
	}
	return Tuple(out), true, nil
}

func (in *interp) repeat(a, b Value) (Value, bool, error) {
	n, ok := asIndex(b)
	if !ok {
		if n, ok = asIndex(a); !ok {
			return nil, false, nil
		}
		a = b
	}
	n = max(n, 0)
	size := 0
	s, isStr := strOf(a)
	seq, isSeq := seqOf(a)
	switch {
	case isStr:
		size = len(s)
	case isSeq:
		size = 16 * len(seq)
	default:
		return nil, false, nil
	}
	if size == 0 {
		n = 0
	}
	if n > int64(in.maxOutput) {
		return nil, true, limitError("repeating more than %d times", in.maxOutput)
	}
	if err := in.chargeBytes(size * int(n)); err != nil {
		return nil, true, err
	}
	if isStr {
		return sameKind(a, strings.Repeat(s, int(n))), true, nil
	}
	out := make([]Value, 0, len(seq)*int(n))
	for range n {
		out = append(out, seq...)
	}
	if _, isList := a.([]Value); isList {
		return out, true, nil
	}
	return Tuple(out), true, nil
}

// arith computes on two numbers as Python does: / is exact division, // and % round towards minus infinity.
func arith(op string, a, b Value) (Value, error) {
	_, floatA := a.(float64)
	_, floatB := b.(float64)
	if op == "**" {
		return power(a, b, floatA || floatB)
	}
	if !floatA && !floatB && op != "/" {
		return arithInt(op, a, b)
	}
	x, y := toFloat(a), toFloat(b)
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	}
	if y == 0 {
		return nil, failf("division by zero")
	}
	switch op {
	case "/":
		return x / y, nil
	case "//":
		q, _ := floatDivmod(x, y)
		return q, nil
	}
	_, r := floatDivmod(x, y)
	return r, nil
}

// floatDivmod is Python's divmod of floats: the remainder has the divisor's sign.
func floatDivmod(x, y float64) (q, r float64) {
	r = math.Mod(x, y)
	q = (x - r) / y
	if r != 0 {
		if (y < 0) != (r < 0) {
			r += y
			q--
		}
	} else {
		r = math.Copysign(0, y)
	}
	if q == 0 {
		return math.Copysign(0, x/y), r
	}
	f := math.Floor(q)
	if q-f > 0.5 {
		f++
	}
	return f, r
}

func arithInt(op string, a, b Value) (Value, error) {
	x, y := toBig(a), toBig(b)
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "//", "%":
		if y.Sign() == 0 {
			return nil, failf("integer division or modulo by zero")
		}
		m := new(big.Int)
		z.QuoRem(x, y, m)
		if m.Sign() != 0 && m.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
			m.Add(m, y)
		}
		if op == "%" {
			z = m
		}
	}
	if z.BitLen() > maxIntBits {
		return nil, limitError("an integer of more than %d bits", maxIntBits)
	}
	return normInt(z), nil
}

func power(a, b Value, isFloat bool) (Value, error) {
	if !isFloat {
		x, y := toBig(a), toBig(b)
		if y.Sign() >= 0 {
			if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxIntBits || int64(x.BitLen()-1)*y.Int64() > maxIntBits) {
				return nil, limitError("an integer of more than %d bits", maxIntBits)
			}
			if x.BitLen() <= 1 && !y.IsInt64() {
				y = new(big.Int).And(y, big.NewInt(1)) // 0, 1 and -1 depend on parity only
				if x.Sign() == 0 {
					y = big.NewInt(1)
				}
			}
			return normInt(new(big.Int).Exp(x, y, nil)), nil
		}
	}
	x, y := toFloat(a), toFloat(b)
	if x == 0 && y < 0 {
		return nil, failf("0.0 cannot be raised to a negative power")
	}
	if x < 0 && y != math.Trunc(y) && !math.IsInf(y, 0) {
		return nil, failf("a negative number to a fractional power is complex, which templates do not have")
	}
	z := math.Pow(x, y)
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return nil, failf("numerical result out of range")
	}
	return z, nil
}
