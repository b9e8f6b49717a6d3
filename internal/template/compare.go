package template

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

type (
	noneKey  struct{}
	undefKey struct{}
	bigKey   string
	tupleKey string
)

// maxTupleKey bounds the elements of a tuple that is a dict's key.
const maxTupleKey = 10_000

// hashKey gives a comparable Go value that is equal for two values exactly when Python calls them equal and hashable.
func hashKey(v Value) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case nil:
		return noneKey{}, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), nil
		}
		return v, nil
	case *big.Int:
		return bigKey(v.String()), nil
	case undefined:
		return undefKey{}, nil
	case Tuple, groupTuple:
		var b strings.Builder
		left := maxTupleKey
		if err := hashTuple(&b, v, &left); err != nil {
			return nil, err
		}
		return tupleKey(b.String()), nil
	case *namespace, *function, *macro, *loopContext, *cycler, *joiner, *generator, rangeVal:
		return v, nil
	}
	return nil, failf("unhashable type: '%s'", typeName(v))
}

func hashTuple(b *strings.Builder, v Value, left *int) error {
	items, _ := seqOf(v)
	b.WriteByte('(')
	for _, x := range items {
		if *left--; *left < 0 {
			return limitError("a tuple of more than %d elements as a key", maxTupleKey)
		}
		switch x.(type) {
		case Tuple, groupTuple:
			if err := hashTuple(b, x, left); err != nil {
				return err
			}
			continue
		}
		h, err := hashKey(x)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%T %q,", h, fmt.Sprint(h))
	}
	b.WriteByte(')')
	return nil
}

// number gives a value as a Python number: bools count as 0 and 1.
func number(v Value) (Value, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case int64, float64, *big.Int:
		return v, true
	}
	return nil, false
}

// compareNumbers returns -1, 0 or 1, exactly; nan is true when one is not a number.
func compareNumbers(a, b Value) (c int, nan bool) {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			switch {
			case x < y:
				return -1, false
			case x > y:
				return 1, false
			}
			return 0, false
		}
	}
	for _, v := range []Value{a, b} {
		if f, ok := v.(float64); ok && math.IsNaN(f) {
			return 0, true
		}
	}
	return bigFloat(a).Cmp(bigFloat(b)), false
}

func bigFloat(v Value) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case *big.Int:
		return new(big.Float).SetInt(v)
	case float64:
		return new(big.Float).SetFloat64(v)
	}
	return new(big.Float)
}

// equal is Python's ==.
func (in *interp) equal(a, b Value) (bool, error) {
	if err := in.charge(1); err != nil {
		return false, err
	}
	if x, ok := strOf(a); ok {
		y, ok := strOf(b)
		return ok && x == y, in.charge(int64(len(x) / 64))
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		if !ok {
			return false, nil
		}
		c, nan := compareNumbers(x, y)
		return c == 0 && !nan, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case []Value:
		y, ok := b.([]Value)
		if !ok {
			return false, nil
		}
		return in.equalSeq(x, y)
	case Tuple, groupTuple:
		switch b.(type) {
		case Tuple, groupTuple:
			xs, _ := seqOf(x)
			ys, _ := seqOf(b)
			return in.equalSeq(xs, ys)
		}
		return false, nil
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || x.Len() != y.Len() {
			return false, nil
		}
		return in.equalDict(x, y)
	case dictView:
		y, ok := b.(dictView)
		return ok && x == y, nil
	}
	if h, err := hashKey(a); err == nil {
		if k, err := hashKey(b); err == nil {
			return h == k, nil
		}
	}
	return false, nil
}

func (in *interp) equalSeq(x, y []Value) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	if err := in.push(); err != nil {
		return false, err
	}
	defer in.pop()
	for i := range x {
		if eq, err := in.equal(x[i], y[i]); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

func (in *interp) equalDict(x, y *Dict) (bool, error) {
	if err := in.push(); err != nil {
		return false, err
	}
	defer in.pop()
	for i, k := range x.keys {
		h, err := hashKey(k)
		if err != nil {
			return false, err
		}
		v, ok := y.lookup(h)
		if !ok {
			return false, nil
		}
		if eq, err := in.equal(x.vals[i], v); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

// order is Python's <, <=, > and >=.
func (in *interp) order(op string, a, b Value) (bool, error) {
	c, nan, err := in.compare(op, a, b)
	if err != nil || nan {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

func (in *interp) compare(op string, a, b Value) (c int, nan bool, err error) {
	if err := in.charge(1); err != nil {
		return 0, false, err
	}
	if x, ok := strOf(a); ok {
		if y, ok := strOf(b); ok {
			return strings.Compare(x, y), false, in.charge(int64(min(len(x), len(y)) / 64))
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			c, nan = compareNumbers(x, y)
			return c, nan, nil
		}
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(undefined); ok {
			return 0, false, undefinedError(u)
		}
	}
	_, listA := a.([]Value)
	_, listB := b.([]Value)
	x, okA := seqOf(a)
	y, okB := seqOf(b)
	if okA && okB && listA == listB {
		if err := in.push(); err != nil {
			return 0, false, err
		}
		defer in.pop()
		for i := range min(len(x), len(y)) {
			eq, err := in.equal(x[i], y[i])
			if err != nil {
				return 0, false, err
			}
			if !eq {
				return in.compare(op, x[i], y[i])
			}
		}
		return len(x) - len(y), false, nil
	}
	return 0, false, failf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

// contains is Python's "x in container".
func (in *interp) contains(container, x Value) (bool, error) {
	if s, ok := strOf(container); ok {
		sub, ok := strOf(x)
		if !ok {
			if u, ok := x.(undefined); ok {
				return false, undefinedError(u)
			}
			return false, failf("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		return strings.Contains(s, sub), in.charge(int64(len(s) / 64))
	}
	var d *Dict
	switch c := container.(type) {
	case *Dict:
		d = c
	case dictView:
		if c.kind == "dict_keys" {
			d = c.d
		}
	}
	if d != nil {
		h, err := hashKey(x)
		if err != nil {
			return false, err
		}
		_, ok := d.lookup(h)
		return ok, nil
	}
	it, err := in.iterate(container)
	if err != nil {
		return false, failf("argument of type '%s' is not iterable", typeName(container))
	}
	for {
		v, ok, err := it()
		if err != nil || !ok {
			return false, err
		}
		if eq, err := in.equal(v, x); err != nil || eq {
			return eq, err
		}
	}
}
