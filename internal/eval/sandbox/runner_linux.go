package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Runner runs programs.
type Runner struct {
	self     string   // this executable
	initArgs []string // with which it calls [Init]
	python   python
	complete bool
	missing  error // why it is not complete
}

// python is the interpreter, as it describes itself.
type python struct {
	Executable string
	Prefixes   []string
}

// spec tells [Init] what to do. It comes in over a pipe.
type spec struct {
	Limits  Limits
	Argv    []string
	Env     []string
	Program string
	Mounts  []mount
}

// mount is a directory or file of the machine that the program may read.
type mount struct {
	Path   string
	Source string // where the machine has it
	Link   string // or: what it is a symbolic link to
	File   bool
}

// report is what [Init] says about a program that ended.
type report struct {
	Error    string // what could not be set up
	ExitCode int
	Signal   int
}

// New finds python3 on the PATH and tries the sandbox out. With initArgs as its command line
// this executable must call [Init]. As root it refuses unless the sandbox is complete.
func New(ctx context.Context, initArgs ...string) (*Runner, error) {
	return newRunner(ctx, os.Geteuid() == 0, nil, initArgs)
}

// newRunner is New; missing, where it is not nil, is a reason to do without namespaces.
func newRunner(ctx context.Context, root bool, missing error, initArgs []string) (*Runner, error) {
	r := &Runner{initArgs: initArgs, complete: missing == nil, missing: missing}
	var err error
	if r.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if r.python, err = findPython(ctx); err != nil {
		return nil, err
	}
	if r.complete {
		v, err := r.Run(ctx, "", Limits{})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && v.Status != Passed {
			err = fmt.Errorf("an empty program %s: %s", v.Status, v.Reason)
		}
		if err != nil {
			r.complete, r.missing = false, err
		}
	}
	if r.complete {
		return r, nil
	}
	if root {
		return nil, fmt.Errorf("%w: the sandbox is not complete (%w), and mltrain runs as root; run it as another user, or where namespaces are allowed", ErrUnavailable, r.missing)
	}
	if _, err := r.Run(ctx, "", Limits{}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return r, nil
}

// Complete reports whether programs are kept from files and network, and if not, why.
func (r *Runner) Complete() (bool, error) { return r.complete, r.missing }

// Interpreter is the Python that runs the programs.
func (r *Runner) Interpreter() string { return r.python.Executable }

func findPython(ctx context.Context) (python, error) {
	var p python
	path, err := exec.LookPath("python3")
	if err != nil {
		return p, fmt.Errorf("%w: python3 is not on the PATH; install it", ErrUnavailable)
	}
	const ask = `import json, sys; print(json.dumps({"Executable": sys.executable, "Prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix]}))`
	out, err := exec.CommandContext(ctx, path, "-I", "-c", ask).Output()
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		return p, fmt.Errorf("%w: %s does not run: %w", ErrUnavailable, path, err)
	}
	for _, prefix := range p.Prefixes {
		if !filepath.IsAbs(prefix) || strings.Count(filepath.Clean(prefix), "/") < 2 && prefix != "/usr" {
			return p, fmt.Errorf("%w: %s is installed in %s, which cannot be shown to programs", ErrUnavailable, path, prefix)
		}
	}
	return p, nil
}

// Run runs a program to its end, or to the end of its limits. An error means that it could
// not be run; what the program does is in the verdict.
func (r *Runner) Run(ctx context.Context, program string, limits Limits) (Verdict, error) {
	limits = limits.withDefaults()
	marker := rand.Text()
	s := spec{Limits: limits, Program: program, Argv: []string{r.python.Executable, "-I", "-B", "-c", driver, marker,
		strconv.FormatInt(limits.Memory, 10), strconv.Itoa(limits.Processes + ownThreads)}}
	s.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"}
	p, err := r.start(ctx, s)
	if err != nil {
		return Verdict{}, fmt.Errorf("sandbox: %w", err)
	}
	v, err := p.wait(ctx, limits, marker)
	if err != nil {
		return Verdict{}, fmt.Errorf("sandbox: %w", err)
	}
	return v, nil
}

// driver sets the limits that Go's runtime could not live under, and runs the program as
// human-eval does, with nothing in its globals. It says on descriptor 3 that it begins, and that it came to
// the end: a program that exits early has not passed. Its arguments: what to say, bytes of memory, processes.
const driver = `import os, resource, sys
try:
    for kind, limit in (resource.RLIMIT_AS, int(sys.argv[2])), (resource.RLIMIT_NPROC, int(sys.argv[3])):
        most = resource.getrlimit(kind)[1]
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (limit, limit))
    source = open("program.py", encoding="utf-8").read()
except BaseException as e:
    os.write(3, b"!" + repr(e).encode())
    raise
os.write(3, b"+")
exec(compile(source, "program.py", "exec"), {})
os.write(3, sys.argv[1].encode())`

// process is a running program.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr capped
	marker         *os.File // what came over descriptor 3 of the program
	report         *os.File
	scratch        string // of an incomplete sandbox
	started        time.Time
}

// start starts Init with the spec on its descriptor 3, its report on 4 and the program's mark on 5.
func (r *Runner) start(ctx context.Context, s spec) (p *process, err error) {
	p = &process{stdout: capped{most: s.Limits.Output}, stderr: capped{most: s.Limits.Output}}
	var theirs, ours []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
			if p.scratch != "" {
				err = errors.Join(err, os.RemoveAll(p.scratch))
			}
		}
	}()
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			ours, theirs = append(ours, r), append(theirs, w)
		}
		return r, w, err
	}
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return p, err
	}
	theirs, ours = append(theirs, specRead), append(ours, specWrite)
	var reportWrite, markerWrite *os.File
	if p.report, reportWrite, err = pipe(); err != nil {
		return p, err
	}
	if p.marker, markerWrite, err = pipe(); err != nil {
		return p, err
	}
	p.cmd = exec.Command(r.self, r.initArgs...)
	p.cmd.Env = s.Env
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.WaitDelay = 2 * time.Second
	p.cmd.ExtraFiles = []*os.File{specRead, reportWrite, markerWrite}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if r.complete {
		namespaces(p.cmd.SysProcAttr)
		if s.Mounts, err = r.mounts(); err != nil {
			return p, err
		}
	} else {
		if p.scratch, err = os.MkdirTemp("", "mltrain-sandbox-"); err != nil {
			return p, err
		}
		p.cmd.Dir = p.scratch
	}
	p.started = time.Now()
	if err = p.cmd.Start(); err != nil {
		return p, fmt.Errorf("start: %w", err)
	}
	go func() { // Init may die before it has read all; then the write fails, and its report is missing
		_ = json.NewEncoder(specWrite).Encode(s)
		specWrite.Close()
	}()
	return p, nil
}

// nobody is the user that a program is to the machine when mltrain runs as root: limits on
// the number of processes do not hold for root.
const nobody = 65534

// namespaces asks for a process in namespaces of its own, with the rights to set them up.
func namespaces(a *syscall.SysProcAttr) {
	a.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		// Init begins as root, as the owner of what only root may enter, and then becomes nobody.
		uid, gid = nobody, nobody
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP}
		a.GidMappingsEnableSetgroups = true
	} else {
		a.Credential = &syscall.Credential{NoSetGroups: true}
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
}

// mounts lists what Python needs, and this executable for the second step.
func (r *Runner) mounts() ([]mount, error) {
	out := []mount{{Path: initPath, Source: r.self, File: true}}
	paths := []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}
	for _, prefix := range r.python.Prefixes {
		prefix = filepath.Clean(prefix)
		if strings.HasPrefix(prefix, "/nix/store/") {
			prefix = "/nix/store"
		}
		if slices.ContainsFunc(paths, func(p string) bool { return prefix == p || strings.HasPrefix(prefix, p+"/") }) {
			continue
		}
		paths = append(paths, prefix)
	}
	for _, path := range paths {
		st, err := os.Lstat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m := mount{Path: path, Source: path, File: !st.IsDir()}
		if st.Mode()&os.ModeSymlink != 0 && !slices.Contains(r.python.Prefixes, path) {
			if m.Link, err = os.Readlink(path); err != nil {
				return nil, err
			}
		} else if st.Mode()&os.ModeSymlink != 0 {
			m.File = false // of a prefix that is a link, the directory
		}
		out = append(out, m)
	}
	return out, nil
}

// wait waits for the end and judges it.
func (p *process) wait(ctx context.Context, limits Limits, marker string) (Verdict, error) {
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // how it ended stands in the report
		close(done)
	}()
	wall := time.NewTimer(limits.Wall)
	defer wall.Stop()
	look := time.NewTicker(25 * time.Millisecond)
	defer look.Stop()
	var v Verdict
	over := false
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
			continue
		case <-wall.C:
			v.Status, v.Reason = TimedOut, fmt.Sprintf("ran longer than %s", limits.Wall)
		case <-ctx.Done():
		case <-look.C:
			if memoryOf(p.cmd.Process.Pid) <= limits.Memory {
				continue
			}
			v.Status, v.Reason = OutOfMem, fmt.Sprintf("used more than %d MiB", limits.Memory>>20)
		}
		over = true
		p.kill()
		<-done
		ended = true
	}
	v.Took = time.Since(p.started)
	if p.scratch != "" {
		p.kill() // what an incomplete sandbox leaves behind
	}
	marked, err := readAll(p.marker)
	raw, err2 := readAll(p.report)
	if err = errors.Join(err, err2); p.scratch != "" {
		err = errors.Join(err, os.RemoveAll(p.scratch))
	}
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	if err != nil {
		return v, err
	}
	v.Stdout, v.Stderr = strings.ToValidUTF8(string(p.stdout.kept), "\uFFFD"), strings.ToValidUTF8(string(p.stderr.kept), "\uFFFD")
	v.Cut = p.stdout.cut || p.stderr.cut
	if over {
		v.ExitCode = -1
		return v, nil
	}
	var rep report
	if json.Unmarshal(raw, &rep) != nil {
		return v, fmt.Errorf("it ended without a report (%s): %s", p.cmd.ProcessState, reason(v.Stderr))
	}
	if rep.Error != "" {
		return v, errors.New(rep.Error)
	}
	if text, failed := bytes.CutPrefix(marked, []byte(markFailed)); failed {
		return v, fmt.Errorf("%s", text)
	}
	if !bytes.HasPrefix(marked, []byte("+")) {
		return v, fmt.Errorf("the interpreter did not start: %s", reason(v.Stderr))
	}
	v.judge(rep, string(marked) == "+"+marker, limits)
	return v, nil
}

// readAll reads what the dead wrote into a pipe, and closes it. One that lives on, having
// escaped an incomplete sandbox, is not waited for.
func readAll(f *os.File) ([]byte, error) {
	err := f.SetReadDeadline(time.Now().Add(time.Second))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return raw, errors.Join(err, f.Close())
}

func (v *Verdict) judge(rep report, reachedEnd bool, limits Limits) {
	v.ExitCode = rep.ExitCode
	switch sig := syscall.Signal(rep.Signal); {
	case rep.ExitCode == 0 && reachedEnd:
		v.Status = Passed
	case sig == syscall.SIGXCPU || sig == syscall.SIGKILL && v.Took >= limits.CPU:
		v.Status, v.Reason = TimedOut, fmt.Sprintf("used more than %s of processor time", limits.CPU)
	case rep.Signal != 0:
		v.Status, v.Reason = Failed, "ended by the signal "+sig.String()
	case strings.HasPrefix(reason(v.Stderr), "MemoryError"):
		v.Status, v.Reason = OutOfMem, fmt.Sprintf("asked for more than %d MiB", limits.Memory>>20)
	case reason(v.Stderr) != "" && rep.ExitCode != 0:
		v.Status, v.Reason = Failed, reason(v.Stderr)
	default:
		v.Status, v.Reason = Failed, fmt.Sprintf("exited with %d before its end", rep.ExitCode)
	}
}

// kill ends everything: in a complete sandbox the kernel kills all processes of the
// namespace with its first; otherwise those of the session's group.
func (p *process) kill() {
	// An error means that there is nobody left to kill.
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
}
