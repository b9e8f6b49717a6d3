package template

import (
	"errors"
	"fmt"
	"time"
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	name          string
	body          []stmt
	hasGeneration bool
	plain         bool // by the rules of ParsePlain
}

// Parse reads a template. The name is for messages. Errors wrap ErrSyntax or ErrLimit and carry the line; filters and
// tests that do not exist are reported all at once.
func Parse(name, src string) (*Template, error) { return parse(name, src, false) }

func parse(name, src string, plain bool) (*Template, error) {
	if len(src) > maxSource {
		return nil, &Error{Name: name, Line: 1, Kind: ErrLimit,
			Msg: fmt.Sprintf("source has %d bytes, the most is %d", len(src), maxSource)}
	}
	toks, err := lex(name, src, plain)
	if err != nil {
		return nil, err
	}
	p := &parser{name: name, toks: toks, plain: plain}
	body, _, err := p.block()
	if err != nil {
		return nil, err
	}
	if len(p.unknown) > 0 {
		return nil, errors.Join(p.unknown...)
	}
	return &Template{name: name, body: body, hasGeneration: p.gen, plain: plain}, nil
}

// Name returns the name given to Parse.
func (t *Template) Name() string { return t.name }

// HasGeneration reports whether the source contains a generation tag.
func (t *Template) HasGeneration() bool { return t.hasGeneration }

// Options bound a rendering; zero fields mean the defaults.
type Options struct {
	MaxSteps  int64     // work: about one per evaluated node and per 32 bytes copied (default 20 million)
	MaxOutput int       // bytes of any one piece of text (default 64 MiB)
	MaxDepth  int       // nested macro and loop calls, and of printed values (default 200)
	Now       time.Time // what strftime_now sees (default: SOURCE_DATE_EPOCH in UTC if set, else the local time)
}

const (
	defaultMaxSteps  = 20_000_000
	defaultMaxOutput = 64 << 20
	defaultMaxDepth  = 200
)

// Result is a rendered template.
type Result struct {
	Text string
	// Generation are the [start, end) byte ranges of Text that generation blocks wrote, in order.
	Generation [][2]int
	// HasGeneration: at least one generation block was reached.
	HasGeneration bool
	// NestedGeneration: one was reached inside a macro, a set block or the like, where its place in Text is unknown.
	NestedGeneration bool
}

// Render renders with the given names: a *Dict, a map[string]any, or nil. Errors carry the line and wrap ErrUndefined,
// ErrUnsafe, ErrRaised or ErrLimit where they are of that kind.
func (t *Template) Render(vars Value, o Options) (Result, error) {
	v, err := From(vars)
	if err != nil {
		return Result{}, err
	}
	d, ok := v.(*Dict)
	if !ok && v != nil {
		return Result{}, fmt.Errorf("a template's names must be a mapping, not %s", typeName(v))
	}
	in := newInterp(t, d, o)
	out := &buffer{root: true}
	if _, err := in.block(t.body, in.root, out); err != nil {
		return Result{}, located(err, t.name, 1)
	}
	return Result{Text: out.text.String(), Generation: out.spans, HasGeneration: in.sawGeneration,
		NestedGeneration: in.nestedGeneration}, nil
}
