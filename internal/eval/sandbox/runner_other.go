//go:build !linux

package sandbox

import (
	"context"
	"fmt"
	"runtime"
)

// Runner runs programs; here there is none.
type Runner struct{}

var errOther = fmt.Errorf("%w on %s: the sandbox needs Linux", ErrUnavailable, runtime.GOOS)

// New says that programs cannot be run here.
func New(context.Context, ...string) (*Runner, error) { return nil, errOther }

// Run says that programs cannot be run here.
func (r *Runner) Run(context.Context, string, Limits) (Verdict, error) { return Verdict{}, errOther }

// Complete reports that there is no sandbox.
func (r *Runner) Complete() (bool, error) { return false, errOther }

// Interpreter is empty here.
func (r *Runner) Interpreter() string { return "" }

// Init says that programs cannot be run here.
func Init([]string) error { return errOther }
