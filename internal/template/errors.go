package template

import (
	"errors"
	"fmt"
)

// Errors to branch on with errors.Is. Every error of Parse and Render is an [*Error] that wraps one of them or is of no
// special kind (a type error, say).
var (
	// ErrSyntax: the source is no valid template, or uses a tag, filter or test that does not exist.
	ErrSyntax = errors.New("template syntax error")
	// ErrLimit: a bound of [Options] was reached.
	ErrLimit = errors.New("template limit reached")
	// ErrUndefined: something that is not there was used for more than printing or testing.
	ErrUndefined = errors.New("undefined value")
	// ErrUnsafe: the sandbox refused an attribute.
	ErrUnsafe = errors.New("refused by the sandbox")
	// ErrRaised: the template itself called raise_exception.
	ErrRaised = errors.New("raised by the template")
)

// Error is a fault at a line of a template.
type Error struct {
	Name string // the template's name, as given to Parse
	Line int    // counted from 1
	Msg  string
	Kind error // one of the ErrX values, or nil
}

func (e *Error) Error() string {
	if e.Kind == nil || e.Kind == ErrRaised {
		return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.Name, e.Line, e.Kind, e.Msg)
}

func (e *Error) Unwrap() error { return e.Kind }

// fault is an error that does not know its line yet.
type fault struct {
	kind error
	msg  string
}

func (f *fault) Error() string { return f.msg }

func failf(format string, a ...any) error { return &fault{msg: fmt.Sprintf(format, a...)} }

func undefinedError(u undefined) error {
	if u.unsafe {
		return &fault{ErrUnsafe, u.msg}
	}
	return &fault{ErrUndefined, u.msg}
}

func limitError(format string, a ...any) error { return &fault{ErrLimit, fmt.Sprintf(format, a...)} }

// located adds the place to an error that has none.
func located(err error, name string, line int) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
		return e
	case *fault:
		return &Error{Name: name, Line: line, Msg: e.msg, Kind: e.kind}
	}
	return &Error{Name: name, Line: line, Msg: err.Error()}
}
