package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// initPath is where a program's root has this executable, for the second step.
const initPath = "/.sandbox/init"

// The descriptors of Init.
const (
	specFD = 3 + iota
	reportFD
	markerFD
)

// markFailed begins what is said on the program's descriptor 3 if it could not be started.
const markFailed = "!"

// ownThreads is how many threads of Init count as the program's.
const ownThreads = 24

// Init is what the sandbox's processes do before the program. The first step, without
// arguments, is the first process of the namespaces: it builds the root, starts the second, waits for it and
// reports. The second, with the limits and the command line as its argument, gives up its rights and becomes the program.
func Init(args []string) error {
	if len(args) == 1 {
		err := become(args[0])
		_, writeErr := os.NewFile(3, "marker").WriteString(markFailed + err.Error())
		return errors.Join(err, writeErr)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, f := range files { // none of them may reach the program
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd >= specFD {
			unix.CloseOnExec(fd)
		}
	}
	out := os.NewFile(reportFD, "report")
	rep, err := supervise()
	if err != nil {
		rep.Error = err.Error()
	}
	return errors.Join(json.NewEncoder(out).Encode(rep), out.Close())
}

func supervise() (report, error) {
	var s spec
	in := os.NewFile(specFD, "spec")
	raw, err := io.ReadAll(in)
	if err != nil {
		return report{}, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return report{}, fmt.Errorf("spec: %w", err)
	}
	self := initPath
	if s.Mounts != nil {
		if err := buildRoot(s); err != nil {
			return report{}, err
		}
	} else if self, err = os.Executable(); err != nil {
		return report{}, err
	}
	if err := os.WriteFile("program.py", []byte(s.Program), 0o644); err != nil {
		return report{}, err
	}
	s.Program, s.Mounts = "", nil
	step, err := json.Marshal(s)
	if err != nil {
		return report{}, err
	}
	marker := os.NewFile(markerFD, "marker")
	cmd := exec.Command(self, append(os.Args[1:], string(step))...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.Env, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{marker}
	if err := cmd.Start(); err != nil {
		return report{}, fmt.Errorf("start the program: %w", err)
	}
	if err := errors.Join(marker.Close(), in.Close()); err != nil {
		return report{}, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return report{}, err
	}
	rep := report{ExitCode: cmd.ProcessState.ExitCode()}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		rep.Signal = int(st.Signal())
	}
	return rep, nil
}

// buildRoot makes an empty file system in memory the root, with the mounts in it, and goes
// to its scratch directory.
func buildRoot(s spec) error {
	fault := func(what string, err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fault("make mounts private", err)
	}
	sources := make([]int, len(s.Mounts))
	for i, m := range s.Mounts {
		if m.Link != "" {
			continue
		}
		fd, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fault("open "+m.Source, err)
		}
		sources[i] = fd
	}
	if os.Geteuid() != 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(0), syscall.Setuid(0)); err != nil {
			return fault("become nobody", err)
		}
	}
	const root = "/tmp" // any directory that is there for all users; the mount hides it
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=0755", s.Limits.Scratch, s.Limits.Files)
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fault("mount the scratch file system", err)
	}
	for _, dir := range []string{"work", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for i, m := range s.Mounts {
		if err := addMount(root, m, sources[i]); err != nil {
			return fault("mount "+m.Path, err)
		}
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	// Both roots are on top of each other after this, and the old one is the upper.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fault("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fault("let go of the old root", err)
	}
	return unix.Chdir("/work")
}

// addMount shows a directory or file, open as fd, under the new root, read-only.
func addMount(root string, m mount, fd int) error {
	at := filepath.Join(root, m.Path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	switch {
	case m.Link != "":
		return os.Symlink(m.Link, at)
	case m.File:
		if err := os.WriteFile(at, nil, 0o644); err != nil {
			return err
		}
	default:
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if filepath.Dir(m.Path) != "/dev" {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	return unix.MountSetattr(-1, at, unix.AT_RECURSIVE, attr)
}

// become gives up every right, sets the limits but those on memory and processes (see driver), and turns into the program.
func become(step string) error {
	var s spec
	if err := json.Unmarshal([]byte(step), &s); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	runtime.LockOSThread() // rights belong to a thread, and this is the one that goes on
	for c := uintptr(0); ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			break // EINVAL beyond the last; EPERM where there are none to drop
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if err := filterCalls(); err != nil {
		return err
	}
	seconds := uint64((s.Limits.CPU + 999_999_999) / 1_000_000_000)
	for _, l := range []struct {
		what       string
		resource   int
		soft, hard uint64
	}{
		{"core files", unix.RLIMIT_CORE, 0, 0},
		{"processor time", unix.RLIMIT_CPU, seconds, seconds + 1},
		{"file size", unix.RLIMIT_FSIZE, uint64(s.Limits.FileBytes), uint64(s.Limits.FileBytes)},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0, 0},
		{"open files", unix.RLIMIT_NOFILE, uint64(s.Limits.OpenFiles), uint64(s.Limits.OpenFiles)},
	} {
		var now unix.Rlimit
		err := unix.Getrlimit(l.resource, &now)
		if err == nil {
			err = unix.Setrlimit(l.resource, &unix.Rlimit{Cur: min(l.soft, now.Max), Max: min(l.hard, now.Max)})
		}
		if err != nil {
			return fmt.Errorf("limit on %s: %w", l.what, err)
		}
	}
	return fmt.Errorf("exec %s: %w", s.Argv[0], syscall.Exec(s.Argv[0], s.Argv, s.Env))
}
