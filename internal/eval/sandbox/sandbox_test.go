//go:build linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test's own executable is the sandbox's first process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-init" {
		if err := Init(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var shared = sync.OnceValues(func() (*Runner, error) { return New(context.Background(), "sandbox-init") })

// complete gives a complete sandbox, or skips.
func complete(t *testing.T) *Runner {
	t.Helper()
	r, err := shared()
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := r.Complete(); !ok {
		t.Skip("the kernel does not allow a complete sandbox:", why)
	}
	return r
}

func run(t *testing.T, r *Runner, program string, l Limits) Verdict {
	t.Helper()
	v, err := r.Run(t.Context(), program, l)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerdicts(t *testing.T) {
	r := complete(t)
	for _, tc := range []struct {
		name, program string
		limits        Limits
		want          Status
		reason        string
	}{
		{name: "passes", program: "assert 1 + 1 == 2", want: Passed},
		{name: "human eval", program: HumanEvalProgram("def f(x):\n", "    return x + 1\n", "def check(g):\n    assert g(1) == 2\n", "f"), want: Passed},
		{name: "no main", program: "if __name__ == '__main__':\n    raise ValueError", want: Passed},
		{name: "standard library", program: "import math, json, re, random, heapq, collections, datetime, hashlib\nhashlib.md5(b'x').hexdigest()", want: Passed},
		{name: "writes in its directory", program: "open('a', 'w').write('x')\nassert open('a').read() == 'x'", want: Passed},
		{name: "assertion", program: "assert 1 == 2, 'no'", want: Failed, reason: "AssertionError: no"},
		{name: "syntax", program: "def f(:", want: Failed, reason: "SyntaxError"},
		{name: "exits early", program: "import sys\nsys.exit(0)", want: Failed, reason: "before its end"},
		{name: "leaves early", program: "import os\nos._exit(0)", want: Failed, reason: "before its end"},
		{name: "exit code", program: "import os\nos._exit(7)", want: Failed, reason: "exited with 7"},
		{name: "signal", program: "import os\nos.kill(os.getpid(), 9)", want: Failed, reason: "killed"},
		{name: "no input", program: "input()", want: Failed, reason: "EOFError"},
		{name: "endless loop", program: "while True: pass", limits: Limits{CPU: time.Second}, want: TimedOut, reason: "processor time"},
		{name: "sleeps", program: "import time\ntime.sleep(60)", limits: Limits{Wall: 500 * time.Millisecond}, want: TimedOut, reason: "longer than 500ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := run(t, r, tc.program, tc.limits)
			if v.Status != tc.want || !strings.Contains(v.Reason, tc.reason) {
				t.Errorf("%+v, want %s (%s)\n%s", v, tc.want, tc.reason, v.Stderr)
			}
		})
	}
}

// descendants counts the processes below this one that are a sandbox's.
func descendants() int {
	n := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		if raw, err := os.ReadFile(d); err == nil && strings.Contains(string(raw), "program.py") {
			n++
		}
	}
	return n
}

func TestForkBombIsHeld(t *testing.T) {
	r := complete(t)
	most := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		seen := 0
		for ctx.Err() == nil {
			seen = max(seen, descendants())
			time.Sleep(50 * time.Millisecond)
		}
		most <- seen
	}()
	v := run(t, r, "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", Limits{Wall: 700 * time.Millisecond, Processes: 16})
	cancel()
	seen := <-most
	if v.Status == Passed {
		t.Errorf("%+v", v)
	}
	if seen < 2 || seen > 16+ownThreads {
		t.Errorf("there were %d processes at once", seen)
	}
	for range 40 {
		if descendants() == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%d processes live on", descendants())
}

func TestMemoryHogIsHeld(t *testing.T) {
	r := complete(t)
	if v := run(t, r, "x = bytearray(2 << 30)", Limits{Memory: 256 << 20}); v.Status != OutOfMem {
		t.Errorf("one process: %+v", v)
	}
	shared := "import mmap, os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 100 << 20)\n        m.write(b'x' * (100 << 20))\n        time.sleep(20)\ntime.sleep(20)"
	if v := run(t, r, shared, Limits{Memory: 256 << 20}); v.Status != OutOfMem {
		t.Errorf("shared memory: %+v", v)
	}
	// Each of them stays below the limit of a process.
	many := "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * (100 << 20)\n        time.sleep(20)\ntime.sleep(20)"
	if v := run(t, r, many, Limits{Memory: 256 << 20}); v.Status != OutOfMem {
		t.Errorf("several processes: %+v", v)
	}
}

func TestFileFloodIsHeld(t *testing.T) {
	r := complete(t)
	flood := "i = 0\nwhile True:\n    open('f%d' % i, 'wb').write(b'x' * 1000)\n    i += 1"
	if v := run(t, r, flood, Limits{}); v.Status != Failed || !strings.Contains(v.Reason, "No space left") {
		t.Errorf("many files: %+v", v)
	}
	big := "f = open('f', 'wb')\nwhile True:\n    f.write(b'x' * (1 << 20))"
	if v := run(t, r, big, Limits{FileBytes: 4 << 20}); v.Status != Failed {
		t.Errorf("a big file: %+v", v)
	}
	parts := "for i in range(100):\n    open('f%d' % i, 'wb').write(b'x' * (2 << 20))"
	if v := run(t, r, parts, Limits{Scratch: 20 << 20}); v.Status != Failed || !strings.Contains(v.Reason, "No space left") {
		t.Errorf("files beyond the scratch: %+v", v)
	}
	// What comes in between has the file system to itself.
	if v := run(t, r, "import os\nassert os.listdir('.') == ['program.py'] and os.listdir('/tmp') == []", Limits{}); v.Status != Passed {
		t.Errorf("something was left: %+v", v)
	}
}

func TestNetworkIsOutOfReach(t *testing.T) {
	r := complete(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip("no network here:", err)
	}
	defer l.Close()
	got := make(chan struct{}, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
			got <- struct{}{}
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	v := run(t, r, "import socket\nsocket.create_connection(('127.0.0.1', "+strconv.Itoa(port)+"), 1)", Limits{})
	if v.Status != Failed || !strings.Contains(v.Reason, "OSError") && !strings.Contains(v.Reason, "Error: [Errno") {
		t.Errorf("%+v", v)
	}
	select {
	case <-got:
		t.Error("the program reached a socket outside")
	default:
	}
}

func TestSecretsAreOutOfReach(t *testing.T) {
	t.Setenv("API_KEY", "env-secret")
	r := complete(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("file-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	program := `import os
for path in [%q, "/../.." + %q, "/proc/1/root" + %q, "/proc/1/environ", "/proc/self/environ", "/etc/passwd", "/etc/shadow", "/root/.ssh", "/home"]:
    try:
        print("read", path, open(path).read()[:100])
    except OSError:
        pass
for fd in range(3, 64):
    for inner in [".", "..", "../../../.." + %q]:
        try:
            print("open", fd, inner, os.open(inner, os.O_RDONLY, dir_fd=fd))
        except OSError:
            pass
print("env", dict(os.environ))
print("root", os.listdir("/"))
import sys
for path in ["/usr/bin/x", "/lib/x", "/.sandbox/init", sys.prefix + "/x", os.__file__]:
    try:
        open(path, "ab")
        print("write", path)
    except OSError:
        pass
try:
    os.setuid(1000)
    print("setuid")
except OSError:
    pass
try:
    os.chroot("/tmp")
    print("chroot")
except OSError:
    pass
`
	v := run(t, r, fmt.Sprintf(program, secret, secret, secret, secret), Limits{})
	if v.Status != Passed {
		t.Fatalf("%+v\n%s", v, v.Stderr)
	}
	for _, bad := range []string{"read", "open", "secret", "write", "setuid", "chroot", "'home'", "'proc'"} {
		if strings.Contains(v.Stdout, bad) {
			t.Errorf("the program got at %q:\n%s", bad, v.Stdout)
		}
	}
	if !strings.Contains(v.Stdout, "'usr'") {
		t.Errorf("the program saw nothing at all:\n%s", v.Stdout)
	}
}

// What would get around the limits, or reach for the kernel's tender parts, is refused.
func TestSystemCallsAreFiltered(t *testing.T) {
	r := complete(t)
	program := `import ctypes, os, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, result):
    assert result == -1 and ctypes.get_errno() == 1, (name, result, ctypes.get_errno())
refused("unshare", libc.unshare(0x10000000))
refused("memfd_create", libc.memfd_create(b"x", 0))
refused("shmget", libc.shmget(0, 1 << 20, 0o600))
refused("mount", libc.mount(b"x", b"/tmp", b"tmpfs", 0, b""))
refused("ptrace", libc.ptrace(0, 0, 0, 0))
seen = []
t = threading.Thread(target=lambda: seen.append(1))
t.start()
t.join()
assert seen == [1]
assert subprocess.run(["/bin/echo", "hi"], capture_output=True).stdout == b"hi\n"
`
	if v := run(t, r, program, Limits{}); v.Status != Passed {
		t.Errorf("%+v\n%s", v, v.Stderr)
	}
}

func TestOutputIsCut(t *testing.T) {
	r := complete(t)
	v := run(t, r, "import sys\nfor _ in range(1000):\n    sys.stdout.write('x' * 10000)\n    sys.stderr.write('y' * 10000)", Limits{Output: 1000})
	if v.Status != Passed || len(v.Stdout) != 1000 || len(v.Stderr) != 1000 || !v.Cut {
		t.Errorf("%s with %d and %d bytes, cut: %v", v.Status, len(v.Stdout), len(v.Stderr), v.Cut)
	}
}

func TestRunAll(t *testing.T) {
	r := complete(t)
	programs := []string{"pass", "assert False", "pass", "1/0", "pass"}
	got := make([]Status, len(programs))
	err := r.RunAll(t.Context(), programs, Limits{}, 3, func(i int, v Verdict) error {
		got[i] = v.Status
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Status{Passed, Failed, Passed, Failed, Passed} {
		if got[i] != want {
			t.Errorf("program %d: %s, want %s", i, got[i], want)
		}
	}
	boom := errors.New("boom")
	if err := r.RunAll(t.Context(), programs, Limits{}, 2, func(int, Verdict) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("%v, want the error of done", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.RunAll(ctx, programs, Limits{}, 2, func(int, Verdict) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

// Without namespaces root is refused, and for others the limits hold.
func TestIncompleteSandbox(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	missing := errors.New("no namespaces, for the test's sake")
	if _, err := newRunner(t.Context(), true, missing, []string{"sandbox-init"}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "root") {
		if err == nil || !strings.Contains(err.Error(), "python3") {
			t.Errorf("as root: %v", err)
		}
	}
	r, err := newRunner(t.Context(), false, missing, []string{"sandbox-init"})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := r.Complete(); ok || !errors.Is(why, missing) {
		t.Errorf("complete: %v, %v", ok, why)
	}
	for program, want := range map[string]Status{
		"open('x', 'w')":         Passed,
		"assert False":           Failed,
		"x = bytearray(4 << 30)": OutOfMem,
		"import os\nassert 'HOME' not in os.environ": Passed,
	} {
		if v := run(t, r, program, Limits{}); v.Status != want {
			t.Errorf("%q: %+v, want %s\n%s", program, v, want, v.Stderr)
		}
	}
	if v := run(t, r, "import os, time\nos.fork()\ntime.sleep(60)", Limits{Wall: 300 * time.Millisecond}); v.Status != TimedOut {
		t.Errorf("%+v", v)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "mltrain-sandbox-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
