// Package template is a small Jinja: it renders the chat templates that language models ship, with the semantics of
// Python's jinja2 3.1 in the environment that Hugging Face transformers sets up (ImmutableSandboxedEnvironment,
// trim_blocks, lstrip_blocks, loop controls, the generation tag, tojson without HTML escaping, raise_exception and
// strftime_now). Text is equal byte for byte; what fails there fails here.
//
// Templates come from strangers, so they can reach nothing but their inputs and the documented names, and the work,
// nesting and output of a rendering are bounded (see [Options] and [ErrLimit]).
//
// The pieces, in the order that a template passes through them: lexer.go, parser.go and parse_expr.go make the tree of
// ast.go; exec.go runs statements, eval.go expressions; value.go and its neighbours (repr.go, compare.go, arith.go,
// attr.go) give values Python's behaviour; filters*.go, tests.go, strmethods.go, methods.go and globals.go are the
// names a template may use. chat.go and mask.go apply a template to a conversation and find what the assistant said.
package template
