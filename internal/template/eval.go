package template

// eval computes an expression.
func (in *interp) eval(x expr, s *scope) (Value, error) {
	if err := in.charge(1); err != nil {
		return nil, err
	}
	in.exprDepth++
	defer func() { in.exprDepth-- }()
	if in.exprDepth > maxExprDepth {
		return nil, limitError("an expression is nested deeper than %d levels", maxExprDepth)
	}
	switch x := x.(type) {
	case *constExpr:
		return x.v, nil
	case *nameExpr:
		return in.lookup(s, x.name), nil
	case *listExpr:
		items, err := in.evalAll(x.items, s)
		if x.tuple {
			return Tuple(items), err
		}
		return items, err
	case *dictExpr:
		return in.evalDict(x, s)
	case *unaryExpr:
		v, err := in.eval(x.x, s)
		if err != nil {
			return nil, err
		}
		if x.op == "not" {
			return !truth(v), in.located(in.defined(v), x.line)
		}
		v, err = unaryOp(x.op, v)
		return v, in.located(err, x.line)
	case *binaryExpr:
		return in.evalBinary(x, s)
	case *concatExpr:
		return in.evalConcat(x, s)
	case *compareExpr:
		return in.evalCompare(x, s)
	case *condExpr:
		test, err := in.eval(x.test, s)
		if err == nil {
			err = in.located(in.defined(test), x.line)
		}
		if err != nil {
			return nil, err
		}
		if truth(test) {
			return in.eval(x.then, s)
		}
		if x.other == nil {
			return undefined{msg: "the inline if-expression evaluated to false and no else section was defined", lax: true}, nil
		}
		return in.eval(x.other, s)
	case *attrExpr:
		v, err := in.eval(x.x, s)
		if err != nil {
			return nil, err
		}
		v, err = in.getattr(v, x.name)
		return v, in.located(err, x.line)
	case *indexExpr:
		v, err := in.evalIndex(x, s)
		return v, in.located(err, x.line)
	case *callExpr:
		v, err := in.callWith(x, s, nil)
		return v, in.located(err, x.line)
	case *filterExpr:
		v, err := in.eval(x.x, s)
		if err != nil {
			return nil, err
		}
		v, err = in.applyFilter(&x.filterCall, v, s)
		return v, in.located(err, x.line)
	case *testExpr:
		v, err := in.eval(x.x, s)
		if err != nil {
			return nil, err
		}
		a, err := in.evalArgs(&x.args, s)
		if err != nil {
			return nil, err
		}
		ok, err := in.callTest(x.name, v, a)
		return ok, in.located(err, x.line)
	case *sliceExpr:
		return nil, in.located(failf("a slice cannot be part of a tuple index"), x.line)
	}
	return nil, failf("unknown expression %T", x)
}

func (in *interp) evalAll(xs []expr, s *scope) ([]Value, error) {
	out := make([]Value, len(xs))
	for i, x := range xs {
		v, err := in.eval(x, s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (in *interp) evalDict(x *dictExpr, s *scope) (Value, error) {
	d := NewDict()
	for i := range x.keys {
		k, err := in.eval(x.keys[i], s)
		if err != nil {
			return nil, err
		}
		v, err := in.eval(x.vals[i], s)
		if err != nil {
			return nil, err
		}
		h, err := hashKey(k)
		if err != nil {
			return nil, in.located(err, x.line)
		}
		d.set(k, h, v)
	}
	return d, nil
}

func (in *interp) evalBinary(x *binaryExpr, s *scope) (Value, error) {
	a, err := in.eval(x.x, s)
	if err != nil {
		return nil, err
	}
	if x.op == "and" || x.op == "or" {
		if err := in.defined(a); err != nil {
			return nil, in.located(err, x.line)
		}
	}
	switch x.op {
	case "and":
		if !truth(a) {
			return a, nil
		}
		return in.eval(x.y, s)
	case "or":
		if truth(a) {
			return a, nil
		}
		return in.eval(x.y, s)
	}
	b, err := in.eval(x.y, s)
	if err != nil {
		return nil, err
	}
	v, err := in.binaryOp(x.op, a, b)
	return v, in.located(err, x.line)
}

func (in *interp) evalConcat(x *concatExpr, s *scope) (Value, error) {
	parts := make([]string, len(x.items))
	n := 0
	for i, item := range x.items {
		v, err := in.eval(item, s)
		if err != nil {
			return nil, err
		}
		if parts[i], err = in.str(v); err != nil {
			return nil, in.located(err, item.at())
		}
		n += len(parts[i])
	}
	return in.joinStrings(parts, "", n)
}

func (in *interp) evalCompare(x *compareExpr, s *scope) (Value, error) {
	a, err := in.eval(x.x, s)
	if err != nil {
		return nil, err
	}
	for i, op := range x.ops {
		b, err := in.eval(x.ys[i], s)
		if err != nil {
			return nil, err
		}
		ok, err := in.compareOp(op, a, b)
		if err != nil {
			return nil, in.located(err, x.ys[i].at())
		}
		if !ok {
			return false, nil
		}
		a = b
	}
	return true, nil
}

func (in *interp) compareOp(op string, a, b Value) (bool, error) {
	for _, v := range []Value{a, b} {
		if err := in.defined(v); err != nil {
			return false, err
		}
	}
	switch op {
	case "==":
		return in.equal(a, b)
	case "!=":
		eq, err := in.equal(a, b)
		return !eq, err
	case "in":
		return in.contains(b, a)
	case "not in":
		ok, err := in.contains(b, a)
		return !ok, err
	}
	return in.order(op, a, b)
}

func (in *interp) evalIndex(x *indexExpr, s *scope) (Value, error) {
	v, err := in.eval(x.x, s)
	if err != nil {
		return nil, err
	}
	sl, ok := x.i.(*sliceExpr)
	if !ok {
		i, err := in.eval(x.i, s)
		if err != nil {
			return nil, err
		}
		return in.getitem(v, i)
	}
	var bounds [3]Value
	for i, e := range []expr{sl.start, sl.stop, sl.step} {
		if e != nil {
			if bounds[i], err = in.eval(e, s); err != nil {
				return nil, err
			}
		}
	}
	return in.slice(v, bounds[0], bounds[1], bounds[2])
}

func (in *interp) applyFilters(fs []filterCall, v Value, s *scope) (Value, error) {
	for i := range fs {
		var err error
		if v, err = in.applyFilter(&fs[i], v, s); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (in *interp) applyFilter(f *filterCall, v Value, s *scope) (Value, error) {
	a, err := in.evalArgs(&f.args, s)
	if err != nil {
		return nil, err
	}
	return in.callFilter(f.name, v, a)
}

func (in *interp) callFilter(name string, v Value, a *args) (Value, error) {
	find := lookupFilter
	if in.t.plain {
		find = lookupPlainFilter
	}
	f := find(name)
	if f == nil {
		return nil, &fault{ErrSyntax, "no filter named '" + name + "'"}
	}
	a.name = name
	return f(in, v, a)
}

func (in *interp) callTest(name string, v Value, a *args) (bool, error) {
	f := lookupTest(name)
	if f == nil {
		return false, &fault{ErrSyntax, "no test named '" + name + "'"}
	}
	a.name = name
	return f(in, v, a)
}
