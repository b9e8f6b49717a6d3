package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childDir names the environment variable that makes the test binary a process to be killed, which saves into that directory.
const childDir = "MLTRAIN_TEST_CRASH_DIR"

// TestCrashChild is the process that TestKilledWhileSaving kills: like a run, it cleans up, finds its latest checkpoint and
// goes on from there, saving each step twice (the second replaces the first), rotating, and writing the final model over
// the last one, as one file and as shards by turns. It prints a step once its checkpoint is safe.
func TestCrashChild(t *testing.T) {
	out := os.Getenv(childDir)
	if out == "" {
		t.Skip("only as a child of TestKilledWhileSaving")
	}
	if err := CleanTemp(out); err != nil {
		t.Fatal(err)
	}
	latest, ok, err := Latest(out, func(m string) { t.Error(m) })
	if err != nil {
		t.Fatal(err)
	}
	step := int64(0)
	if ok {
		s, r, err := LoadState(latest)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		step = s.GlobalStep
	}
	for {
		step++
		for range 2 {
			path, err := saveAt(out, step)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("saved %d\n", step)
			if err := Rotate(out, 1, path); err != nil {
				t.Fatal(err)
			}
		}
		if err := SaveModel(filepath.Join(out, "final"), StepDir(out, step), finalModel(step), nil, 8*(1+step%3)); err != nil {
			t.Fatal(err)
		}
	}
}

// finalModel is a model of three tensors of 8 bytes that all name their step.
func finalModel(step int64) []Tensor {
	var ts []Tensor
	for i := range 3 {
		ts = append(ts, f32(fmt.Sprintf("t%d", i), []int{2}, float32(step), float32(step)))
	}
	return ts
}

// TestKilledWhileSaving kills a saving process with SIGKILL at random moments. Each time the latest checkpoint must be whole and
// none older than the last one announced, though only one is kept, and the final model must never be a mix of two.
func TestKilledWhileSaving(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		announced := killedChild(t, exe, out, time.Duration(rand.IntN(60))*time.Millisecond)
		if t.Failed() {
			return
		}
		if err := CleanTemp(out); err != nil {
			t.Fatal(err)
		}
		latest, ok, err := Latest(out, func(m string) { t.Errorf("round %d: %s", round, m) })
		if err != nil || !ok {
			t.Fatalf("round %d: no checkpoint (%v), although %d was announced", round, err, announced)
		}
		step, _ := parseStep(filepath.Base(latest))
		if step < announced {
			t.Errorf("round %d: latest checkpoint is %d, although %d was announced", round, step, announced)
		}
		if err := checkAt(latest, step); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		checkFinal(t, filepath.Join(out, "final"))
	}
	if names := dirNames(t, out); len(names) > 3 {
		t.Errorf("rubbish piles up: %v", names)
	}
}

// killedChild starts a child, kills it some time after its first checkpoint, and returns the last step that it announced.
func killedChild(t *testing.T, exe, out string, after time.Duration) (announced int64) {
	t.Helper()
	cmd := exec.Command(exe, "-test.run=^TestCrashChild$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), childDir+"="+out)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		said = append(said, lines.Text())
		text, ok := strings.CutPrefix(lines.Text(), "saved ")
		if !ok {
			continue
		}
		first := announced == 0
		if announced, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		if first {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the child was not killed but ended by itself (%v):\n%s", err, strings.Join(said, "\n"))
	}
	return announced
}

// checkFinal fails when the final model opens but is not of one step.
func checkFinal(t *testing.T, dir string) {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		return // not there yet, or incomplete and refused
	}
	defer r.Close()
	seen := map[string]bool{}
	for _, name := range r.Names() {
		b, err := r.Bytes(name)
		if err != nil {
			t.Error(err)
		}
		seen[string(b)] = true
	}
	if len(seen) != 1 || len(r.Names()) != 3 {
		t.Errorf("the final model is a mix: %d tensors with %d values", len(r.Names()), len(seen))
	}
}
