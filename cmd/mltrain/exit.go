package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes of every command; scripts depend on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// ExitError is an error that decides the exit code. Without Err nothing is
// printed: the command has said all there is to say.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// usageErrorf is an error in how the command was called.
func usageErrorf(format string, args ...any) error {
	return &ExitError{Code: exitUsage, Err: fmt.Errorf(format, args...)}
}

// exitCode is the code that an error ends the program with.
func exitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// printError prints an error once. Several errors joined into one become a list.
func printError(w io.Writer, err error) {
	var exit *ExitError
	if errors.As(err, &exit) && exit.Err == nil {
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "interrupted")
		return
	}
	lines := strings.Split(err.Error(), "\n")
	if n := parts(err); n > 1 {
		fmt.Fprintf(w, "error: %d faults\n", n)
	} else {
		fmt.Fprintln(w, "error: "+lines[0])
		lines = lines[1:]
	}
	for _, line := range lines {
		fmt.Fprintln(w, "  "+line)
	}
}

// parts counts the errors that err joins; the wrappers around a join add no
// text of their own when they begin with it.
func parts(err error) int {
	for err != nil {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			return len(many.Unwrap())
		}
		inner := errors.Unwrap(err)
		if inner == nil || inner.Error() != err.Error() {
			return 1
		}
		err = inner
	}
	return 0
}
