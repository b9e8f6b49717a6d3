package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/train/diagnose"
)

// Record is what the files of a run say about it.
type Record struct {
	Dir      string
	Command  string            // "" if unknown
	Config   map[string]string // values of the resolved config as text, by key
	Facts    diagnose.Entry    // nil if unknown
	Log      []checkpoint.LogEntry
	State    *checkpoint.TrainerState // nil if the run has not ended, and of an output directory only
	Modified time.Time                // of the log
}

// ErrNoRun is matched by errors about a directory that holds no run.
var ErrNoRun = errors.New("no run")

// ReadRun reads the directory of a run: metrics.jsonl with run.yaml and facts.json, as far as they are there. The log_history of a
// trainer_state.json, such as transformers' Trainer writes, stands in for metrics.jsonl.
func ReadRun(dir string) (*Record, error) {
	r := &Record{Dir: dir}
	var faults []error
	state, err := checkpoint.ReadTrainerState(dir)
	switch {
	case err == nil:
		r.State = state
	case !errors.Is(err, fs.ErrNotExist):
		faults = append(faults, err)
	}
	path := filepath.Join(dir, MetricsFile)
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if r.Log, err = parseLog(raw); err != nil {
			faults = append(faults, fmt.Errorf("%s:%w", path, err))
		}
	case !errors.Is(err, fs.ErrNotExist):
		faults = append(faults, err)
	case r.State == nil && len(faults) == 0:
		return nil, fmt.Errorf("%s holds %w: neither %s nor trainer_state.json is there", dir, ErrNoRun, MetricsFile)
	case r.State != nil:
		r.Log = r.State.LogHistory
		path = filepath.Join(dir, "trainer_state.json")
	}
	if st, err := os.Stat(path); err == nil {
		r.Modified = st.ModTime()
	}
	faults = append(faults, r.readConfig(), r.readFacts())
	return r, errors.Join(faults...)
}

// parseLog reads the lines of a log. The last one may be half-written, by a run that was killed.
func parseLog(raw []byte) ([]checkpoint.LogEntry, error) {
	var log []checkpoint.LogEntry
	lines := bytes.Split(raw, []byte("\n"))
	for i, line := range lines {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e checkpoint.LogEntry
		if err := json.Unmarshal(line, &e); err != nil {
			if i == len(lines)-1 {
				break
			}
			return nil, fmt.Errorf("%d: expected an object of metrics: %w", i+1, err)
		}
		log = append(log, e)
	}
	return log, nil
}

func (r *Record) readConfig() error {
	path := filepath.Join(r.Dir, RunConfigFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// The first line is: # mltrain sft: the resolved config of this run
	head, _, _ := strings.Cut(string(raw), ":")
	if command, ok := strings.CutPrefix(head, "# mltrain "); ok {
		r.Command = command
	}
	var values map[string]any
	if err := yaml.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.Config = map[string]string{}
	for k, v := range values {
		r.Config[k] = fmt.Sprint(v)
	}
	return nil
}

func (r *Record) readFacts() error {
	path := filepath.Join(r.Dir, FactsFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if r.State != nil && r.State.MaxSteps > 0 {
			r.Facts = diagnose.Entry{diagnose.KeyMaxSteps: r.State.MaxSteps}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &r.Facts); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Findings is the diagnosis of the run.
func (r *Record) Findings() []diagnose.Finding {
	var log []diagnose.Entry
	if r.Facts != nil {
		log = append(log, r.Facts)
	}
	for _, e := range r.Log {
		log = append(log, diagnose.Entry(e))
	}
	return diagnose.All(log)
}

// Point is a value of a metric at a step.
type Point struct {
	Step  int
	Value float64
}

// Series returns the values of a metric that were logged.
func (r *Record) Series(metric string) []Point {
	var out []Point
	for _, e := range r.Log {
		v, ok := diagnose.Entry(e).Number(metric)
		step, hasStep := diagnose.Entry(e).Number("step")
		if ok && hasStep {
			out = append(out, Point{int(step), v})
		}
	}
	return out
}

// Last returns the last value of a metric.
func (r *Record) Last(metric string) (Point, bool) {
	s := r.Series(metric)
	if len(s) == 0 {
		return Point{}, false
	}
	return s[len(s)-1], true
}

// Best returns the lowest value of a metric.
func (r *Record) Best(metric string) (Point, bool) {
	s := r.Series(metric)
	if len(s) == 0 {
		return Point{}, false
	}
	best := s[0]
	for _, p := range s {
		if p.Value < best.Value {
			best = p
		}
	}
	return best, true
}

// Steps returns how many steps were done, and of how many; 0 if unknown.
func (r *Record) Steps() (done, total int) {
	for _, e := range r.Log {
		if v, ok := diagnose.Entry(e).Number("step"); ok {
			done = max(done, int(v))
		}
	}
	if v, ok := r.Facts.Number(diagnose.KeyMaxSteps); ok {
		total = int(v)
	}
	return done, total
}
