package train

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/tensorboard"
	"github.com/mltrain/mltrain/internal/train/diagnose"
)

// EventDir is the directory of TensorBoard's event files in that of a run.
const EventDir = "runs"

// watchers follow what a run logs: TensorBoard's files, and the diagnosis, which says what it sees once.
type watchers struct {
	board    *tensorboard.Writer // nil without report_to tensorboard
	monitor  diagnose.Monitor
	findings []diagnose.Finding
}

// watch begins to follow the run. What a resumed run logged before is known, and was said then.
func (r *run) watch() error {
	cfg := &r.cfg.Config
	if slices.Contains(cfg.ReportTo, "tensorboard") {
		var err error
		if r.watchers.board, err = tensorboard.Open(filepath.Join(cfg.OutputDir, EventDir), int64(r.startStep), checkpoint.WriteAtomic); err != nil {
			return err
		}
	}
	facts, err := r.facts()
	if err != nil {
		return err
	}
	if err := writeFacts(cfg.OutputDir, facts); err != nil {
		return err
	}
	r.diagnose(facts)
	for _, e := range r.history {
		r.watchers.findings = append(r.watchers.findings, r.watchers.monitor.Add(diagnose.Entry(e))...)
	}
	return nil
}

// diagnose says what an entry of the log brings to light.
func (r *run) diagnose(e diagnose.Entry) {
	for _, f := range r.watchers.monitor.Add(e) {
		r.watchers.findings = append(r.watchers.findings, f)
		r.report.Warn(f.String())
	}
}

// publish writes an entry of the log to metrics.jsonl and to all that follow it.
func (r *run) publish(e checkpoint.LogEntry) error {
	if err := r.metrics.write(e); err != nil {
		return err
	}
	if r.watchers.board != nil {
		if err := r.toBoard(e); err != nil {
			return err
		}
	}
	r.diagnose(diagnose.Entry(e))
	return nil
}

// toBoard writes an entry as scalars, under the names that transformers gives them, and the histograms that belong to it.
func (r *run) toBoard(e checkpoint.LogEntry) error {
	scalars := map[string]float64{}
	for k, v := range e {
		tag := "train/" + k
		if rest, ok := strings.CutPrefix(k, "eval_"); ok {
			tag = "eval/" + rest
		}
		switch v := v.(type) {
		case float64:
			scalars[tag] = v
		case int64:
			scalars[tag] = float64(v)
		}
	}
	err := r.watchers.board.Scalars(int64(r.step), scalars)
	if _, trained := e["loss"]; err != nil || !trained || !r.cfg.Config.LogGradientHistograms {
		return err
	}
	return r.gradientHistograms()
}

// gradientHistograms writes the distribution of the last step's gradient, before clipping, for each trainable parameter.
func (r *run) gradientHistograms() error {
	for _, w := range r.e.Store.Trainable {
		raw := make([]byte, w.Grad.Bytes())
		if err := r.e.Backend.Download(raw, w.Grad); err != nil {
			return err
		}
		var h tensorboard.Histogram
		for i := 0; i < len(raw); i += 4 {
			h.Add(readF32(raw[i:]) / r.count)
		}
		if err := r.watchers.board.Histogram(int64(r.step), "gradients/"+w.Name, &h); err != nil {
			return err
		}
	}
	return nil
}

func (w *watchers) close() error {
	if w.board == nil {
		return nil
	}
	if err := w.board.Close(); err != nil {
		return fmt.Errorf("close the event file: %w", err)
	}
	return nil
}
