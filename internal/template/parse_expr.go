package template

// tuple parses expressions separated by commas; without a comma it is the expression itself. cond allows "a if b
// else c"; empty allows "()"; endName is a name that ends it.
func (p *parser) tuple(cond, empty bool, endName string) (expr, error) {
	line := p.cur().line
	var items []expr
	isTuple := false
	for {
		k := p.cur().kind
		if k == tokVarEnd || k == tokBlockEnd || p.isOp(")") || (endName != "" && p.isName(endName)) {
			break
		}
		parse := p.expression
		if !cond {
			parse = p.or
		}
		x, err := parse()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.skipOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) == 1 {
			return items[0], nil
		}
		if !empty {
			return nil, p.errorf(line, "expected an expression, got %s", p.cur().describe())
		}
	}
	return &listExpr{pos{line}, items, true}, nil
}

func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	line := p.cur().line
	known := len(p.unknown)
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	for p.skipName("if") {
		test, err := p.or()
		if err != nil {
			return nil, err
		}
		var other expr
		if p.skipName("else") {
			if other, err = p.expression(); err != nil {
				return nil, err
			}
		}
		x = &condExpr{pos{line}, test, x, other}
		line = p.cur().line
		p.unknown = p.unknown[:known]
	}
	return x, nil
}

func (p *parser) or() (expr, error) {
	line := p.cur().line
	x, err := p.and()
	for err == nil && p.skipName("or") {
		var y expr
		y, err = p.and()
		x = &binaryExpr{pos{line}, "or", x, y}
	}
	return x, err
}

func (p *parser) and() (expr, error) {
	line := p.cur().line
	x, err := p.not()
	for err == nil && p.skipName("and") {
		var y expr
		y, err = p.not()
		x = &binaryExpr{pos{line}, "and", x, y}
	}
	return x, err
}

func (p *parser) not() (expr, error) {
	line := p.cur().line
	if !p.skipName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	x, err := p.not()
	return &unaryExpr{pos{line}, "not", x}, err
}

func (p *parser) compareOp() (string, bool) {
	t := p.cur()
	switch {
	case t.kind == tokOp:
		switch t.text {
		case "==", "!=", "<", "<=", ">", ">=":
			p.next()
			return t.text, true
		}
	case p.skipName("in"):
		return "in", true
	case p.isName("not") && p.peek().kind == tokName && p.peek().text == "in":
		p.next()
		p.next()
		return "not in", true
	}
	return "", false
}

func (p *parser) compare() (expr, error) {
	line := p.cur().line
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &compareExpr{pos: pos{line}, x: x}
	for {
		op, ok := p.compareOp()
		if !ok {
			break
		}
		y, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.ys = append(c.ops, op), append(c.ys, y)
	}
	if len(c.ops) == 0 {
		return x, nil
	}
	return c, nil
}

// binary parses a left-associative level of operators.
func (p *parser) binary(operand func() (expr, error), ops ...string) (expr, error) {
	line := p.cur().line
	x, err := operand()
scan:
	for err == nil {
		for _, op := range ops {
			if p.skipOp(op) {
				var y expr
				y, err = operand()
				x = &binaryExpr{pos{line}, op, x, y}
				continue scan
			}
		}
		break
	}
	return x, err
}

func (p *parser) sum() (expr, error)     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() (expr, error) { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) concat() (expr, error) {
	line := p.cur().line
	x, err := p.product()
	if err != nil || !p.isOp("~") {
		return x, err
	}
	c := &concatExpr{pos{line}, []expr{x}}
	for p.skipOp("~") {
		if x, err = p.product(); err != nil {
			return nil, err
		}
		c.items = append(c.items, x)
	}
	return c, nil
}

func (p *parser) unary(withFilter bool) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := p.cur()
	var x expr
	var err error
	if t.kind == tokOp && (t.text == "-" || t.text == "+") {
		p.next()
		if x, err = p.unary(false); err == nil {
			x = &unaryExpr{pos{t.line}, t.text, x}
		}
	} else {
		x, err = p.primary()
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && withFilter {
		x, err = p.filters(x)
	}
	return x, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	at := pos{t.line}
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{at, true}, nil
		case "false", "False":
			return &constExpr{at, false}, nil
		case "none", "None":
			return &constExpr{at, nil}, nil
		}
		p.mention(t.text)
		return &nameExpr{at, t.text}, nil
	case tokString:
		s := t.text
		for p.cur().kind == tokString {
			s += p.next().text
		}
		return &constExpr{at, s}, nil
	case tokNumber:
		return &constExpr{at, t.num}, nil
	case tokOp:
		switch t.text {
		case "(":
			x, err := p.tuple(true, true, "")
			if err == nil {
				err = p.expectOp(")")
			}
			return x, err
		case "[":
			return p.list(at)
		case "{":
			return p.dict(at)
		}
	}
	return nil, p.errorf(t.line, "unexpected %s", t.describe())
}

// mention notes that the open macro bodies use a special name.
func (p *parser) mention(name string) {
	for _, d := range p.macros {
		switch name {
		case "caller":
			d.usesCaller = true
		case "kwargs":
			d.usesKwargs = d.usesKwargs || !d.declares(name)
		case "varargs":
			d.usesVarargs = d.usesVarargs || !d.declares(name)
		}
	}
}

func (p *parser) list(at pos) (expr, error) {
	l := &listExpr{pos: at}
	for !p.isOp("]") {
		if len(l.items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp("]") {
				break
			}
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, x)
	}
	p.next()
	return l, nil
}

func (p *parser) dict(at pos) (expr, error) {
	d := &dictExpr{pos: at}
	for !p.isOp("}") {
		if len(d.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expectOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	}
	p.next()
	return d, nil
}

func (p *parser) postfix(x expr) (expr, error) {
	var err error
	for err == nil && p.cur().kind == tokOp {
		switch p.cur().text {
		case ".", "[":
			x, err = p.subscript(x)
		case "(":
			x, err = p.call(x)
		default:
			return x, nil
		}
	}
	return x, err
}

func (p *parser) filters(x expr) (expr, error) {
	var err error
	for err == nil {
		line := p.cur().line
		switch {
		case p.skipOp("|"):
			var f filterCall
			f, err = p.filterCall()
			x = &filterExpr{pos{line}, x, f}
		case p.isName("is"):
			x, err = p.test(x)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
	}
	return x, err
}

func (p *parser) subscript(x expr) (expr, error) {
	at := pos{p.cur().line}
	if p.next().text == "." {
		t := p.next()
		switch {
		case t.kind == tokName:
			return &attrExpr{at, x, t.text}, nil
		case t.kind == tokNumber:
			if _, isFloat := t.num.(float64); !isFloat {
				return &indexExpr{at, x, &constExpr{at, t.num}}, nil
			}
		}
		return nil, p.errorf(t.line, "expected a name or an integer after '.', got %s", t.describe())
	}
	var items []expr
	for !p.isOp("]") {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		i, err := p.subscribed()
		if err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	p.next()
	if len(items) == 1 {
		return &indexExpr{at, x, items[0]}, nil
	}
	return &indexExpr{at, x, &listExpr{at, items, true}}, nil
}

func (p *parser) subscribed() (expr, error) {
	s := &sliceExpr{pos: pos{p.cur().line}}
	part := func(dst *expr) error {
		if p.isOp(":") || p.isOp("]") || p.isOp(",") {
			return nil
		}
		x, err := p.expression()
		*dst = x
		return err
	}
	if err := part(&s.start); err != nil {
		return nil, err
	}
	if !p.skipOp(":") {
		if s.start == nil {
			return nil, p.errorf(p.cur().line, "expected an expression, got %s", p.cur().describe())
		}
		return s.start, nil
	}
	if err := part(&s.stop); err != nil {
		return nil, err
	}
	if p.skipOp(":") {
		if err := part(&s.step); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (p *parser) call(f expr) (expr, error) {
	line := p.cur().line
	a, err := p.callArgs()
	return &callExpr{pos{line}, f, a}, err
}

func (p *parser) callArgs() (callArgs, error) {
	var a callArgs
	line := p.next().line // the "("
	bad := func() (callArgs, error) {
		return callArgs{}, p.errorf(line, "bad order of arguments in a call: positional ones come first, then named ones")
	}
	for first := true; !p.isOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return a, err
			}
			if p.isOp(")") {
				break
			}
		}
		var err error
		switch {
		case p.skipOp("*"):
			if a.dynPos != nil || a.dynNamed != nil {
				return bad()
			}
			a.dynPos, err = p.expression()
		case p.skipOp("**"):
			if a.dynNamed != nil {
				return bad()
			}
			a.dynNamed, err = p.expression()
		case p.cur().kind == tokName && p.peek().kind == tokOp && p.peek().text == "=":
			if a.dynNamed != nil {
				return bad()
			}
			name := p.next()
			p.next()
			for _, n := range a.names {
				if n == name.text {
					return a, p.errorf(name.line, "argument '%s' is given twice", n)
				}
			}
			var x expr
			x, err = p.expression()
			a.names, a.named = append(a.names, name.text), append(a.named, x)
		default:
			if a.dynPos != nil || a.dynNamed != nil || len(a.names) > 0 {
				return bad()
			}
			var x expr
			x, err = p.expression()
			a.pos = append(a.pos, x)
		}
		if err != nil {
			return a, err
		}
	}
	p.next()
	return a, nil
}

// dotted reads the name of a filter or test, which may contain dots.
func (p *parser) dotted() (string, int, error) {
	t, err := p.expectName()
	if err != nil {
		return "", 0, err
	}
	name := t.text
	for p.skipOp(".") {
		more, err := p.expectName()
		if err != nil {
			return "", 0, err
		}
		name += "." + more.text
	}
	return name, t.line, nil
}

func (p *parser) filterCall() (filterCall, error) {
	name, line, err := p.dotted()
	if err != nil {
		return filterCall{}, err
	}
	find := lookupFilter
	if p.plain {
		find = lookupPlainFilter
	}
	if find(name) == nil {
		p.unknown = append(p.unknown, p.errorf(line, "no filter named '%s'", name))
	}
	f := filterCall{name: name}
	if p.isOp("(") {
		f.args, err = p.callArgs()
	}
	return f, err
}

func (p *parser) test(x expr) (expr, error) {
	p.next() // "is"
	negated := p.skipName("not")
	name, line, err := p.dotted()
	if err != nil {
		return nil, err
	}
	if lookupTest(name) == nil {
		p.unknown = append(p.unknown, p.errorf(line, "no test named '%s'", name))
	}
	t := &testExpr{pos: pos{line}, x: x, name: name}
	c := p.cur()
	switch {
	case p.isOp("("):
		t.args, err = p.callArgs()
	case c.kind == tokString, c.kind == tokNumber, p.isOp("["), p.isOp("{"),
		c.kind == tokName && c.text != "else" && c.text != "or" && c.text != "and":
		if c.kind == tokName && c.text == "is" {
			return nil, p.errorf(c.line, "tests with 'is' cannot be chained")
		}
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.pos = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &unaryExpr{pos{line}, "not", t}, nil
	}
	return t, nil
}
