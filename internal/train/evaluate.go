package train

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
)

// evaluate runs the objective over the evaluation data without gradients, logs eval_… metrics and remembers the best.
func (r *run) evaluate() error {
	began := time.Now()
	n := r.Eval.MicroBatches(0)
	total := make([]float64, r.Objective.Sums())
	var count float64
	rows := 0
	for i := range n {
		if err := r.Eval.Fill(&r.batch, 0, i); err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
		b, err := r.e.load(&r.batch)
		if err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
		if err := errors.Join(r.e.resetSums(), r.e.evalMicro(b)); err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
		s, err := r.e.sums()
		if err != nil {
			return err
		}
		for j, v := range s {
			total[j] += v
		}
		count += r.Objective.Count(&r.batch)
		rows += r.batch.Sequences()
		r.report.EvalProgress(i+1, n)
		if r.ctx.Err() != nil && r.lastSaved != r.step && r.step > 0 {
			return r.interrupted()
		}
	}
	took := time.Since(began).Seconds()
	m := map[string]float64{}
	for k, v := range r.Objective.Metrics(total, count) {
		m["eval_"+k] = v
	}
	r.lastEval, r.lastEvalMetrics = r.step, maps.Clone(m)
	e := checkpoint.LogEntry{"step": r.step, "epoch": round(r.epoch(), 6), "eval_runtime": round(took, 4), "eval_samples_per_second": round(float64(rows)/took, 3)}
	for k, v := range m {
		e[k] = v
	}
	r.history = append(r.history, e)
	r.report.Log(e)
	if err := r.publish(e); err != nil {
		return err
	}
	r.pause(time.Since(began))
	if r.step > 0 {
		return r.remember(m)
	}
	return nil
}

// remember keeps the best evaluation.
func (r *run) remember(m map[string]float64) error {
	name, greater := r.cfg.Config.BestMetric()
	v, ok := m[name]
	if !ok {
		return fmt.Errorf("metric_for_best_model: the evaluation gives no %s; it gives %s", name, keyList(m))
	}
	if math.IsNaN(v) {
		return nil
	}
	r.patience.see(v, r.best, greater)
	if !r.best.ok || greater && v > r.best.value || !greater && v < r.best.value {
		r.best = best{int64(r.step), v, true}
	}
	return nil
}
