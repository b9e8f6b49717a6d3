package template

import "math/big"

type test func(in *interp, v Value, a *args) (bool, error)

// lookupTest finds a test; nil when there is none.
func lookupTest(name string) test {
	switch name {
	case "defined":
		return plainTest(func(v Value) bool { _, undef := v.(undefined); return !undef })
	case "undefined":
		return plainTest(func(v Value) bool { _, undef := v.(undefined); return undef })
	case "none":
		return plainTest(func(v Value) bool { return v == nil })
	case "boolean":
		return plainTest(func(v Value) bool { _, ok := v.(bool); return ok })
	case "true":
		return plainTest(func(v Value) bool { b, ok := v.(bool); return ok && b })
	case "false":
		return plainTest(func(v Value) bool { b, ok := v.(bool); return ok && !b })
	case "integer":
		return plainTest(isInteger)
	case "float":
		return plainTest(func(v Value) bool { _, ok := v.(float64); return ok })
	case "number":
		return plainTest(func(v Value) bool { _, ok := number(v); return ok })
	case "string":
		return plainTest(func(v Value) bool { _, ok := strOf(v); return ok })
	case "mapping":
		return plainTest(func(v Value) bool { _, ok := v.(*Dict); return ok })
	case "sequence":
		return plainTest(isSequence)
	case "iterable":
		return func(in *interp, v Value, a *args) (bool, error) {
			_, err := in.iterate(v)
			return err == nil, nil
		}
	case "callable":
		return plainTest(isCallable)
	case "escaped":
		return plainTest(func(v Value) bool { _, ok := v.(markup); return ok })
	case "filter":
		return plainTest(func(v Value) bool { s, ok := strOf(v); return ok && lookupFilter(s) != nil })
	case "test":
		return plainTest(func(v Value) bool { s, ok := strOf(v); return ok && lookupTest(s) != nil })
	case "lower", "upper":
		return testCase
	case "odd", "even", "divisibleby":
		return testModulo
	case "sameas":
		return testSameas
	case "in":
		return compareTest("in")
	case "==", "eq", "equalto":
		return compareTest("==")
	case "!=", "ne":
		return compareTest("!=")
	case ">", "gt", "greaterthan":
		return compareTest(">")
	case ">=", "ge":
		return compareTest(">=")
	case "<", "lt", "lessthan":
		return compareTest("<")
	case "<=", "le":
		return compareTest("<=")
	}
	return nil
}

func plainTest(f func(Value) bool) test {
	return func(in *interp, v Value, a *args) (bool, error) {
		_, err := a.bind()
		return f(v), err
	}
}

func isInteger(v Value) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}

// isSequence is true for what has a length and items: Python's test accepts dicts, and undefined too.
func isSequence(v Value) bool {
	switch v.(type) {
	case string, markup, []Value, Tuple, groupTuple, *Dict, rangeVal, undefined:
		return true
	}
	return false
}

func isCallable(v Value) bool {
	switch v.(type) {
	case *function, *macro, *loopContext, *joiner, undefined:
		return true
	}
	return false
}

func testCase(in *interp, v Value, a *args) (bool, error) {
	if _, err := a.bind(); err != nil {
		return false, err
	}
	s, err := in.str(v)
	if a.name == "lower" {
		return isLower(s), err
	}
	return isUpper(s), err
}

func testModulo(in *interp, v Value, a *args) (bool, error) {
	var by, want Value = int64(2), int64(0)
	switch a.name {
	case "odd":
		want = int64(1)
	case "divisibleby":
		p, err := a.bind("num")
		if err != nil {
			return false, err
		}
		by = p[0]
		a = &args{name: a.name}
	}
	if _, err := a.bind(); err != nil {
		return false, err
	}
	r, err := in.binaryOp("%", v, by)
	if err != nil {
		return false, err
	}
	return in.equal(r, want)
}

// testSameas is identity: for lists and mappings the same object, for everything else the same type and value.
func testSameas(in *interp, v Value, a *args) (bool, error) {
	p, err := a.bind("other")
	if err != nil {
		return false, err
	}
	if x, ok := v.([]Value); ok {
		y, ok := p[0].([]Value)
		return ok && len(x) > 0 && len(x) == len(y) && &x[0] == &y[0], nil
	}
	if x, ok := v.(*Dict); ok {
		return p[0] == Value(x), nil
	}
	if typeName(v) != typeName(p[0]) {
		return false, nil
	}
	return in.equal(v, p[0])
}

func compareTest(op string) test {
	return func(in *interp, v Value, a *args) (bool, error) {
		p, err := a.bind("other")
		if err != nil {
			return false, err
		}
		return in.compareOp(op, v, p[0])
	}
}
