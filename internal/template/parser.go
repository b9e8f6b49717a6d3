package template

import (
	"fmt"
	"strings"
)

const (
	maxSource       = 1 << 20 // bytes of a template's source
	maxParseNesting = 150     // of brackets, operators and tags
)

// parser turns tokens into the tree. One level of lookahead is enough.
type parser struct {
	name   string
	toks   []token
	i      int
	depth  int
	loops  int         // open for loops of the innermost function body
	macros []*macroDef // open macro bodies
	ends   [][]string  // the tags that each open block waits for
	gen    bool        // a generation tag was seen
	// unknown collects filters and tests that do not exist. Inside a condition they fail only when reached, as in
	// Jinja, so conditions drop what was collected within them.
	unknown []error
	plain   bool
}

func (p *parser) cur() token  { return p.toks[p.i] }
func (p *parser) peek() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if p.i < len(p.toks)-1 {
		p.i++
	}
	return t
}

func (p *parser) errorf(line int, format string, a ...any) error {
	return &Error{Name: p.name, Line: line, Msg: fmt.Sprintf(format, a...), Kind: ErrSyntax}
}

func (p *parser) isOp(s string) bool   { t := p.cur(); return t.kind == tokOp && t.text == s }
func (p *parser) isName(s string) bool { t := p.cur(); return t.kind == tokName && t.text == s }

func (p *parser) skipOp(s string) bool {
	if p.isOp(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipName(s string) bool {
	if p.isName(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expectOp(s string) error {
	if !p.skipOp(s) {
		return p.errorf(p.cur().line, "expected '%s', got %s", s, p.cur().describe())
	}
	return nil
}

func (p *parser) expectName() (token, error) {
	if p.cur().kind != tokName {
		return token{}, p.errorf(p.cur().line, "expected a name, got %s", p.cur().describe())
	}
	return p.next(), nil
}

func (p *parser) expectBlockEnd() error {
	if p.cur().kind != tokBlockEnd {
		return p.errorf(p.cur().line, "expected '%%}', got %s", p.cur().describe())
	}
	p.next()
	return nil
}

func (p *parser) enter() error {
	p.depth++
	if p.depth > maxParseNesting {
		return &Error{Name: p.name, Line: p.cur().line, Kind: ErrLimit,
			Msg: fmt.Sprintf("nested deeper than %d levels", maxParseNesting)}
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// block reads statements up to one of the end tags, whose name it consumes and returns. Without end tags it reads to
// the end of the template.
func (p *parser) block(ends ...string) (body []stmt, end string, err error) {
	if err := p.enter(); err != nil {
		return nil, "", err
	}
	defer p.leave()
	start := p.cur().line
	p.ends = append(p.ends, ends)
	defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	for {
		t := p.next()
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				return nil, "", p.errorf(t.line, "unexpected end of template: the block opened at line %d waits for %s", start, tagList(ends))
			}
			return body, "", nil
		case tokData:
			body = append(body, dataStmt{t.text})
		case tokVarBegin:
			x, err := p.tuple(true, false, "")
			if err != nil {
				return nil, "", err
			}
			if p.cur().kind != tokVarEnd {
				return nil, "", p.errorf(p.cur().line, "expected '}}', got %s", p.cur().describe())
			}
			p.next()
			body = append(body, outputStmt{x, t.line})
		case tokBlockBegin:
			if p.cur().kind == tokName {
				for _, e := range ends {
					if p.isName(e) {
						p.next()
						return body, e, nil
					}
				}
			}
			s, err := p.statement()
			if err != nil {
				return nil, "", err
			}
			if err := p.expectBlockEnd(); err != nil {
				return nil, "", err
			}
			body = append(body, s...)
		default:
			return nil, "", p.errorf(t.line, "unexpected %s", t.describe())
		}
	}
}

// body reads "%}", then statements up to one of the end tags.
func (p *parser) body(ends ...string) ([]stmt, string, error) {
	p.skipOp(":")
	if err := p.expectBlockEnd(); err != nil {
		return nil, "", err
	}
	return p.block(ends...)
}

func tagList(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "'" + n + "'"
	}
	return strings.Join(out, " or ")
}

func one(s stmt, err error) ([]stmt, error) {
	if err != nil {
		return nil, err
	}
	return []stmt{s}, nil
}

func (p *parser) statement() ([]stmt, error) {
	t, err := p.expectName()
	if err != nil {
		return nil, err
	}
	switch t.text {
	case "if":
		return one(p.ifStatement(t.line))
	case "for":
		return one(p.forStatement(t.line))
	case "set":
		return one(p.setStatement(t.line))
	case "macro":
		return one(p.macroStatement(t.line))
	case "call":
		return one(p.callStatement(t.line))
	case "filter":
		return one(p.filterStatement(t.line))
	case "with":
		return one(p.withStatement(t.line))
	case "print":
		return p.printStatement(t.line)
	case "generation":
		return one(p.generationStatement())
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.errorf(t.line, "'%s' outside a for loop", t.text)
		}
		if t.text == "break" {
			return []stmt{breakStmt{}}, nil
		}
		return []stmt{continueStmt{}}, nil
	case "include", "import", "from", "extends", "block":
		return nil, p.errorf(t.line, "'%s' is refused: a chat template is one file and can load no other", t.text)
	case "autoescape", "trans", "do", "debug":
		return nil, p.errorf(t.line, "'%s' is refused: chat templates have no such tag in Hugging Face's environment either, or no use for it", t.text)
	}
	for i := len(p.ends) - 1; i >= 0; i-- {
		if len(p.ends[i]) > 0 {
			return nil, p.errorf(t.line, "unknown tag '%s'; the innermost open block waits for %s", t.text, tagList(p.ends[i]))
		}
	}
	return nil, p.errorf(t.line, "unknown tag '%s'", t.text)
}

func (p *parser) ifStatement(line int) (stmt, error) {
	known := len(p.unknown)
	defer func() { p.unknown = p.unknown[:known] }()
	s := ifStmt{line: line}
	for {
		test, err := p.tuple(false, false, "")
		if err != nil {
			return nil, err
		}
		body, end, err := p.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.tests, s.bodies = append(s.tests, test), append(s.bodies, body)
		switch end {
		case "endif":
			return s, nil
		case "else":
			s.other, _, err = p.body("endif")
			return s, err
		}
	}
}

func (p *parser) forStatement(line int) (stmt, error) {
	s := forStmt{line: line}
	var err error
	if s.target, err = p.target("in", false); err != nil {
		return nil, err
	}
	if s.target.assigns("loop") {
		return nil, p.errorf(line, "cannot assign to the special variable 'loop'")
	}
	if !p.skipName("in") {
		return nil, p.errorf(p.cur().line, "expected 'in', got %s", p.cur().describe())
	}
	if s.iter, err = p.tuple(false, false, "recursive"); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if s.filter, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skipName("recursive")
	p.loops++
	body, end, err := p.body("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	s.body = body
	if end == "else" {
		if s.other, _, err = p.body("endfor"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (t target) assigns(name string) bool {
	for _, x := range t.list {
		if x.assigns(name) {
			return true
		}
	}
	return t.list == nil && t.attr == "" && t.name == name
}

func (p *parser) setStatement(line int) (stmt, error) {
	tg, err := p.target("", true)
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		x, err := p.tuple(true, false, "")
		return setStmt{tg, x, line}, err
	}
	s := setBlockStmt{target: tg, line: line}
	for p.skipOp("|") {
		f, err := p.filterCall()
		if err != nil {
			return nil, err
		}
		s.filters = append(s.filters, f)
	}
	s.body, _, err = p.body("endset")
	return s, err
}

// function parses a body that becomes a function of its own: loops outside it cannot be left from within.
func (p *parser) function(ends ...string) ([]stmt, error) {
	loops := p.loops
	p.loops = 0
	body, _, err := p.body(ends...)
	p.loops = loops
	return body, err
}

func (p *parser) macroBody(d *macroDef, end string) error {
	p.macros = append(p.macros, d)
	defer func() { p.macros = p.macros[:len(p.macros)-1] }()
	var err error
	d.body, err = p.function(end)
	if err == nil && d.usesCaller && d.declares("caller") {
		d.usesCaller = false
	}
	return err
}

func (p *parser) macroStatement(line int) (stmt, error) {
	name, err := p.expectName()
	if err != nil {
		return nil, err
	}
	d := &macroDef{name: name.text, line: line}
	if err := p.signature(d); err != nil {
		return nil, err
	}
	if err := p.macroBody(d, "endmacro"); err != nil {
		return nil, err
	}
	return macroStmt{d, line}, nil
}

func (p *parser) signature(d *macroDef) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if len(d.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
		}
		t, err := p.expectName()
		if err != nil {
			return err
		}
		if d.declares(t.text) {
			return p.errorf(t.line, "duplicate parameter '%s'", t.text)
		}
		if p.skipOp("=") {
			x, err := p.expression()
			if err != nil {
				return err
			}
			d.defaults = append(d.defaults, x)
		} else if len(d.defaults) > 0 {
			return p.errorf(t.line, "parameter '%s' without a default follows one with a default", t.text)
		}
		d.params = append(d.params, t.text)
	}
	p.next()
	return nil
}

func (p *parser) callStatement(line int) (stmt, error) {
	d := &macroDef{name: "caller", line: line}
	if p.isOp("(") {
		if err := p.signature(d); err != nil {
			return nil, err
		}
	}
	x, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := x.(*callExpr)
	if !ok {
		return nil, p.errorf(line, "expected a call after 'call'")
	}
	if err := p.macroBody(d, "endcall"); err != nil {
		return nil, err
	}
	return callStmt{d, call, line}, nil
}

func (p *parser) filterStatement(line int) (stmt, error) {
	s := filterStmt{line: line}
	for {
		f, err := p.filterCall()
		if err != nil {
			return nil, err
		}
		s.filters = append(s.filters, f)
		if !p.skipOp("|") {
			break
		}
	}
	var err error
	s.body, _, err = p.body("endfilter")
	return s, err
}

func (p *parser) withStatement(line int) (stmt, error) {
	s := withStmt{line: line}
	for p.cur().kind != tokBlockEnd {
		if len(s.targets) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		tg, err := p.target("", false)
		if err != nil {
			return nil, err
		}
		if err := p.expectOp("="); err != nil {
			return nil, err
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.targets, s.values = append(s.targets, tg), append(s.values, x)
	}
	var err error
	s.body, _, err = p.body("endwith")
	return s, err
}

func (p *parser) printStatement(line int) ([]stmt, error) {
	var out []stmt
	for p.cur().kind != tokBlockEnd {
		if len(out) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, outputStmt{x, line})
	}
	return out, nil
}

func (p *parser) generationStatement() (stmt, error) {
	p.gen = true
	body, err := p.function("endgeneration")
	return generationStmt{body}, err
}

// target parses what stands left of "=" or of "in".
func (p *parser) target(endName string, withAttr bool) (target, error) {
	if err := p.enter(); err != nil {
		return target{}, err
	}
	defer p.leave()
	var list []target
	isTuple := false
	for {
		if len(list) > 0 && (p.targetEnds() || (endName != "" && p.isName(endName))) {
			break
		}
		t, err := p.targetItem(withAttr)
		if err != nil {
			return target{}, err
		}
		list = append(list, t)
		if !p.isOp(",") {
			break
		}
		p.next()
		isTuple = true
	}
	if isTuple {
		return target{list: list}, nil
	}
	return list[0], nil
}

func (p *parser) targetEnds() bool { return p.isOp("=") || p.isOp(")") || p.cur().kind == tokBlockEnd }

func (p *parser) targetItem(withAttr bool) (target, error) {
	if p.skipOp("(") {
		t, err := p.target("", withAttr)
		if err == nil {
			err = p.expectOp(")")
		}
		return t, err
	}
	t := p.cur()
	if t.kind != tokName {
		return target{}, p.errorf(t.line, "cannot assign to %s", t.describe())
	}
	switch t.text {
	case "true", "false", "none", "True", "False", "None":
		return target{}, p.errorf(t.line, "cannot assign to the constant '%s'", t.text)
	}
	p.next()
	if withAttr && p.skipOp(".") {
		attr, err := p.expectName()
		return target{name: t.text, attr: attr.text}, err
	}
	return target{name: t.text}, nil
}
