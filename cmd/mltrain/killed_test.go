package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// killed says how often a run is killed, and what of its directory must be as if it had not been.
type killed struct {
	rounds  int      // runs from the start
	kills   int      // at most, in each
	files   []string // equal to the byte
	metrics []string // keys of metrics.jsonl
}

// killedEqualsWhole runs what args gives for an output directory, with --resume among them: undisturbed, and killed (with SIGKILL, at
// random) and started again until it is done, on another number of processors.
func killedEqualsWhole(t *testing.T, args func(out string) []string, k killed) {
	t.Helper()
	whole, began := filepath.Join(t.TempDir(), "whole"), time.Now()
	if o, err := child(t, 1, args(whole)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, o)
	}
	took := time.Since(began)
	for round := 0; round < k.rounds; {
		out := filepath.Join(t.TempDir(), "killed")
		kills := 0
		for done := false; !done; {
			cmd := child(t, 2-round%2, args(out)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Most kills meet the run between its first step and its last.
			timer := time.AfterFunc(took/20+time.Duration(rand.Int64N(int64(took*3/4))), func() {
				if kills < k.kills {
					_ = cmd.Process.Kill()
				}
			})
			err := cmd.Wait()
			timer.Stop()
			switch {
			case err == nil:
				done = true
			case cmd.ProcessState.ExitCode() != -1:
				t.Fatalf("round %d: %v\n%s", round, err, stderr.String())
			default:
				kills++
			}
		}
		if kills == 0 {
			continue // it was done before the kill came: such a round proves nothing
		}
		t.Logf("round %d: %d kills", round, kills)
		for _, f := range k.files {
			if !bytes.Equal(read(t, filepath.Join(out, f)), read(t, filepath.Join(whole, f))) {
				t.Errorf("round %d: after %d kills %s is not the undisturbed run's", round, kills, f)
			}
		}
		for _, key := range k.metrics {
			if a, b := metrics(t, whole, key), metrics(t, out, key); fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("round %d: %s: %v, undisturbed %v", round, key, b, a)
			}
		}
		round++
	}
}
