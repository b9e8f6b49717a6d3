package template

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// interp is one rendering.
type interp struct {
	t                               *Template
	vars                            *Dict // what was passed to Render
	root                            *scope
	now                             time.Time
	steps                           int64 // left
	maxOutput, maxDepth             int
	depth                           int // of macro calls, recursive loops and printed values
	exprDepth                       int
	sawGeneration, nestedGeneration bool
}

// maxExprDepth bounds the nesting of expressions under evaluation, which long chains of operators make deep.
const maxExprDepth = 10_000

func newInterp(t *Template, vars *Dict, o Options) *interp {
	if vars == nil {
		vars = NewDict()
	}
	in := &interp{t: t, vars: vars, root: &scope{}, now: o.Now, steps: o.MaxSteps, maxOutput: o.MaxOutput, maxDepth: o.MaxDepth}
	if in.steps == 0 {
		in.steps = defaultMaxSteps
	}
	if in.maxOutput == 0 {
		in.maxOutput = defaultMaxOutput
	}
	if in.maxDepth == 0 {
		in.maxDepth = defaultMaxDepth
	}
	if in.now.IsZero() {
		in.now = time.Now()
		if s, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
			in.now = time.Unix(s, 0).UTC()
		}
	}
	return in
}

// charge counts work.
func (in *interp) charge(n int64) error {
	if in.steps -= n; in.steps < 0 {
		return limitError("the template does too much work (is it in a loop?)")
	}
	return nil
}

// chargeBytes counts the making of a text or list of n bytes, before it is made.
func (in *interp) chargeBytes(n int) error {
	if n > in.maxOutput {
		return limitError("the template makes more than %d bytes of text", in.maxOutput)
	}
	return in.charge(int64(n / 32))
}

func (in *interp) push() error {
	in.depth++
	if in.depth > in.maxDepth {
		return limitError("nested deeper than %d levels (a macro that calls itself?)", in.maxDepth)
	}
	return nil
}

func (in *interp) pop() { in.depth-- }

// scope holds the names of a block: the template, one pass of a loop, a macro call, …
type scope struct {
	names  []string
	vals   []Value
	parent *scope
}

func (s *scope) set(name string, v Value) {
	for i, n := range s.names {
		if n == name {
			s.vals[i] = v
			return
		}
	}
	s.names, s.vals = append(s.names, name), append(s.vals, v)
}

func (in *interp) lookup(s *scope, name string) Value {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.vals[i]
			}
		}
	}
	if v, ok := in.vars.Get(name); ok {
		return v
	}
	if f := lookupGlobal(name); f != nil {
		return &function{name: name, call: f}
	}
	return undefined{msg: "'" + name + "' is undefined"}
}

// buffer collects output and, at the root, where generation blocks stand in it.
type buffer struct {
	text  strings.Builder
	spans [][2]int
	root  bool
}

func (in *interp) write(out *buffer, s string) error {
	if out.text.Len()+len(s) > in.maxOutput {
		return limitError("the output is longer than %d bytes", in.maxOutput)
	}
	out.text.WriteString(s)
	return in.charge(int64(len(s) / 32))
}

// flow tells how a block ended.
type flow uint8

const (
	flowNormal flow = iota
	flowBreak
	flowContinue
)

func (in *interp) block(body []stmt, s *scope, out *buffer) (flow, error) {
	for _, st := range body {
		f, err := in.exec(st, s, out)
		if err != nil || f != flowNormal {
			return f, err
		}
	}
	return flowNormal, nil
}

// capture runs a block into a buffer of its own.
func (in *interp) capture(body []stmt, s *scope) (string, error) {
	var out buffer
	_, err := in.block(body, s, &out)
	return out.text.String(), err
}

func (in *interp) exec(st stmt, s *scope, out *buffer) (flow, error) {
	if err := in.charge(1); err != nil {
		return 0, err
	}
	switch st := st.(type) {
	case dataStmt:
		return 0, in.write(out, st.text)
	case outputStmt:
		v, err := in.eval(st.x, s)
		if err != nil {
			return 0, in.located(err, st.line)
		}
		text, err := in.str(v)
		if err == nil {
			err = in.write(out, text)
		}
		return 0, in.located(err, st.line)
	case ifStmt:
		for i, test := range st.tests {
			v, err := in.eval(test, s)
			if err == nil {
				err = in.defined(v)
			}
			if err != nil {
				return 0, in.located(err, test.at())
			}
			if truth(v) {
				return in.block(st.bodies[i], s, out)
			}
		}
		return in.block(st.other, s, out)
	case forStmt:
		f, err := in.forLoop(&st, s, out)
		return f, in.located(err, st.line)
	case setStmt:
		v, err := in.eval(st.x, s)
		if err == nil {
			err = in.assign(st.target, v, s)
		}
		return 0, in.located(err, st.line)
	case setBlockStmt:
		inner := &scope{parent: s}
		text, err := in.capture(st.body, inner)
		if err != nil {
			return 0, err
		}
		v, err := in.applyFilters(st.filters, text, inner)
		if err == nil {
			err = in.assign(st.target, v, s)
		}
		return 0, in.located(err, st.line)
	case filterStmt:
		inner := &scope{parent: s}
		text, err := in.capture(st.body, inner)
		if err != nil {
			return 0, err
		}
		v, err := in.applyFilters(st.filters, text, inner)
		if err == nil {
			err = in.print(out, v)
		}
		return 0, in.located(err, st.line)
	case withStmt:
		inner := &scope{parent: s}
		for i, x := range st.values {
			v, err := in.eval(x, s)
			if err == nil {
				err = in.assign(st.targets[i], v, inner)
			}
			if err != nil {
				return 0, in.located(err, st.line)
			}
		}
		return in.block(st.body, inner, out)
	case macroStmt:
		s.set(st.def.name, &macro{def: st.def, scope: s})
	case callStmt:
		v, err := in.callWith(st.call, s, &macro{def: st.def, scope: s})
		if err == nil {
			err = in.print(out, v)
		}
		return 0, in.located(err, st.line)
	case generationStmt:
		return 0, in.generation(st.body, &scope{parent: s}, out)
	case breakStmt:
		return flowBreak, nil
	case continueStmt:
		return flowContinue, nil
	}
	return 0, nil
}

func (in *interp) located(err error, line int) error { return located(err, in.t.name, line) }

func (in *interp) print(out *buffer, v Value) error {
	text, err := in.str(v)
	if err != nil {
		return err
	}
	return in.write(out, text)
}

func (in *interp) generation(body []stmt, s *scope, out *buffer) error {
	in.sawGeneration = true
	if !out.root {
		in.nestedGeneration = true
		_, err := in.block(body, s, out)
		return err
	}
	start := out.text.Len()
	// A generation block within this one is part of it.
	out.root = false
	nested := in.nestedGeneration
	_, err := in.block(body, s, out)
	out.root, in.nestedGeneration = true, nested
	if end := out.text.Len(); end > start {
		out.spans = append(out.spans, [2]int{start, end})
	}
	return err
}

func (in *interp) assign(t target, v Value, s *scope) error {
	switch {
	case t.list != nil:
		it, err := in.iterate(v)
		if err != nil {
			return failf("cannot unpack non-iterable %s object", typeName(v))
		}
		for i := range t.list {
			x, ok, err := it()
			if err != nil {
				return err
			}
			if !ok {
				return failf("not enough values to unpack (expected %d, got %d)", len(t.list), i)
			}
			if err := in.assign(t.list[i], x, s); err != nil {
				return err
			}
		}
		if _, ok, err := it(); ok || err != nil {
			if err != nil {
				return err
			}
			return failf("too many values to unpack (expected %d)", len(t.list))
		}
	case t.attr != "":
		switch ns := in.lookup(s, t.name).(type) {
		case *namespace:
			ns.attrs.Set(t.attr, v)
		case undefined:
			return undefinedError(ns)
		default:
			return failf("cannot assign attribute '%s' of '%s': it is %s, not a namespace", t.attr, t.name, typeName(ns))
		}
	default:
		s.set(t.name, v)
	}
	return nil
}
