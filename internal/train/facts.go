package train

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train/diagnose"
)

// FactsFile holds what was known of a run before its first step: an entry for the diagnosis.
const FactsFile = "facts.json"

// Facts are what is known of a run's data before its first step. The zero Facts say nothing.
type Facts struct {
	TrainRows, EvalRows int64
	LeakedRows          int64 // evaluation rows whose tokens are those of a training row
	Tokens, Trained     int64 // of the training rows, and those of them that have a label
}

// Facts looks the data through.
func (d *Data) Facts() (Facts, error) {
	f := Facts{TrainRows: int64(d.train.Len())}
	// The ledger counts rows that were split off for evaluation, too; they are of the same kind.
	if l := d.TrainLedger; l != nil && l.Kept > 0 {
		share := float64(f.TrainRows) / float64(l.Kept)
		f.Tokens, f.Trained = int64(share*float64(l.Tokens)), int64(share*float64(l.Trained))
	}
	if d.eval == nil {
		return f, nil
	}
	f.EvalRows = int64(d.eval.Len())
	leaked, err := d.eval.Overlap(d.train)
	if err != nil {
		return Facts{}, fmt.Errorf("compare evaluation and training rows: %w", err)
	}
	f.LeakedRows = int64(leaked)
	return f, nil
}

// UsesTemplate tells whether training rows were rendered by the chat template.
func (d *Data) UsesTemplate() bool { return usesTemplate(d.TrainLedger) }

// facts is what the diagnosis has to know of the run as a whole.
func (r *run) facts() (diagnose.Entry, error) {
	f := diagnose.Entry{diagnose.KeyMaxSteps: r.total, diagnose.KeyVocab: r.e.Model.Info().VocabSize}
	if d := r.Facts; d.TrainRows > 0 {
		f[diagnose.KeyTrainRows], f[diagnose.KeyEvalRows], f[diagnose.KeyLeakedRows] = d.TrainRows, d.EvalRows, d.LeakedRows
		f[diagnose.KeyTokens], f[diagnose.KeyTrainTokens] = d.Tokens, d.Trained
	}
	sq, err := r.e.squares(r.e.Store.Values)
	if err != nil {
		return nil, err
	}
	f[diagnose.KeyOptim], f[diagnose.KeyWeightRMS] = r.cfg.Config.Optim, math.Sqrt(sq/float64(r.e.Store.TrainableCount()))
	return f, nil
}

// squares returns the sum of squares of a tensor.
func (e *Engine) squares(x tensor.Tensor) (float64, error) {
	if err := e.Backend.SumSq(e.Opt.sums, x.View(x.Len()), false); err != nil {
		return 0, err
	}
	var raw [4]byte
	err := e.Backend.Download(raw[:], e.Opt.sums)
	return readF32(raw[:]), err
}

func writeFacts(dir string, f diagnose.Entry) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return checkpoint.WriteAtomic(filepath.Join(dir, FactsFile), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
