package train

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// preferenceOf reads the options of a preference run.
func preferenceOf(cfg *config.Config) PreferenceOptions {
	o := PreferenceOptions{
		LossTypes: cfg.LossType, LossWeights: cfg.LossWeights, Beta: cfg.Beta, Smoothing: cfg.LabelSmoothing, SimpoGamma: cfg.SimpoGamma,
		DiscopopTau: cfg.DiscopopTau, Weighted: cfg.UseWeighting, Desirable: cfg.DesirableWeight, Undesirable: cfg.UndesirableWeight,
	}
	def := 0.0
	if o.is("cpo") {
		def = 1
	}
	o.CPOAlpha = cfg.CpoAlpha.Or(def)
	return o
}

// NewPreference returns the objective of `mltrain dpo`.
func NewPreference(cfg *config.Config) (*Preference, error) {
	o := preferenceOf(cfg)
	if err := o.Check(); err != nil {
		return nil, err
	}
	switch {
	case o.ReferenceFree() && (cfg.RefModel != "" || cfg.PrecomputeRefLogProbs || cfg.SyncRefModel):
		return nil, fmt.Errorf("loss_type %s has no reference model; leave out ref_model, precompute_ref_log_probs and sync_ref_model", o.LossTypes[0])
	case o.is("kto") && cfg.PrecomputeRefLogProbs:
		return nil, fmt.Errorf("precompute_ref_log_probs: the answers that kto compares with change with the order of the rows; leave it out")
	case cfg.SyncRefModel && cfg.UsePeft:
		return nil, fmt.Errorf("sync_ref_model moves a whole reference model towards the policy; it does not go with an adapter")
	case o.is("kto") && cfg.PerDeviceTrainBatchSize < 2:
		return nil, fmt.Errorf("per_device_train_batch_size %d: kto compares each answer with another row's; it needs 2 or more", cfg.PerDeviceTrainBatchSize)
	}
	return &Preference{PreferenceOptions: o, Precomputed: cfg.PrecomputeRefLogProbs}, nil
}

// preferenceRows gives the micro-batches of a preference run.
type preferenceRows struct {
	*data.Loader
	options PreferenceOptions
	// reference holds the reference's log-likelihoods by row, or is nil.
	reference [][2]float64
	// shared lays pairs out with their prompt once.
	shared bool
}

func newPreferenceRows(l *data.Loader, o PreferenceOptions) *preferenceRows {
	// orpo trains the prompt as well, but only with the chosen answer.
	return &preferenceRows{Loader: l, options: o, shared: !o.Unpaired() && !o.is("orpo") && l.CanShare()}
}

// Limits bounds the micro-batches.
func (p *preferenceRows) Limits() data.Limits {
	if p.shared {
		return p.SharedLimits()
	}
	return p.Loader.Limits()
}

// Fill makes b micro-batch i: chosen answers, then rejected ones, or single answers.
func (p *preferenceRows) Fill(b *data.Batch, epoch, i int) error {
	fill := p.FillPairs
	if p.shared {
		fill = p.FillShared
	}
	if p.options.Unpaired() {
		if p.options.is("kto") && b.Mismatched == nil {
			b.Mismatched = &data.Batch{}
		}
		_, err := p.FillUnpaired(b, b.Mismatched, nil, epoch, i)
		if err != nil {
			return err
		}
	} else if err := fill(b, epoch, i); err != nil {
		return err
	}
	if p.options.is("orpo") {
		b.TargetPrompts(b.Pairs())
	}
	b.Reference = b.Reference[:0]
	if p.reference == nil {
		return nil
	}
	for s, row := range b.Indices {
		side := 0
		if !p.options.Unpaired() && s >= len(b.Indices)/2 {
			side = 1
		}
		b.Reference = append(b.Reference, p.reference[row][side])
	}
	return nil
}

// Precompute computes the reference's log-likelihoods of all answers, or reads them from cacheDir, where they lie under a hash
// of the rows' tokens and of the reference's files. modelDir is the directory of the model; ref_model in res is a directory too.
func (d *Data) Precompute(ctx context.Context, b tensor.Backend, res *config.Resolved, modelDir, cacheDir string, progress func(done, total int)) error {
	ref, closeRef, err := referenceFor(&res.Config, modelDir, res.Config.RefModel)
	if err != nil {
		return err
	}
	defer closeRef()
	for _, p := range []*preferenceRows{d.preferences, d.evalPreferences} {
		if p == nil {
			continue
		}
		if p.reference, err = precompute(ctx, b, res, p, ref, cacheDir, progress); err != nil {
			return fmt.Errorf("precompute_ref_log_probs: %w", err)
		}
	}
	return nil
}

// cached is the file of precomputed log-likelihoods.
type cached struct {
	Key  string       `json:"key"`
	Rows [][2]float64 `json:"rows"`
}

func precompute(ctx context.Context, b tensor.Backend, res *config.Resolved, p *preferenceRows, ref *ReferenceSpec, cacheDir string, progress func(done, total int)) ([][2]float64, error) {
	key, err := precomputeKey(p, ref, b.Name(), res.Config.BF16.Or(false), res.Config.AllowBF16ReducedPrecisionReduction)
	if err != nil {
		return nil, err
	}
	path := ""
	if cacheDir != "" {
		path = filepath.Join(cacheDir, "reference", key+".json")
		if raw, err := os.ReadFile(path); err == nil {
			var c cached
			if json.Unmarshal(raw, &c) == nil && c.Key == key && len(c.Rows) == p.Dataset().Len() {
				return c.Rows, nil
			}
		}
	}
	rows, err := computeReference(ctx, b, res, p, ref, progress)
	if err != nil || path == "" {
		return rows, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return rows, checkpoint.WriteAtomic(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(cached{key, rows}) })
}

// computeReference runs the reference over all rows, in their order.
func computeReference(ctx context.Context, b tensor.Backend, res *config.Resolved, p *preferenceRows, ref *ReferenceSpec, progress func(done, total int)) ([][2]float64, error) {
	loader, err := data.NewLoader(p.Dataset(), data.LoaderOptions{BatchSize: res.Config.PerDeviceTrainBatchSize, PaddingFree: true})
	if err != nil {
		return nil, err
	}
	m, store, err := ref.load(b, res.Config.BF16.Or(false), res.Config.MaxLength, func(bd *nn.Builder) (*nn.Store, error) { return bd.Load(b, 0) })
	if err != nil {
		return nil, err
	}
	defer store.Close()
	rows := newPreferenceRows(loader, p.options)
	limits := rows.Limits()
	feeder, err := nn.NewFeeder(b, limits.Tokens, limits.Sequences, limits.Keys)
	if err != nil {
		return nil, err
	}
	defer feeder.Close()
	tape := autograd.NewTape(b)
	defer tape.Close()
	if res.Config.BF16.Or(false) {
		tape.ActDType = tensor.BF16
		tape.ReducedSums = res.Config.AllowBF16ReducedPrecisionReduction
	}
	out := make([][2]float64, loader.Dataset().Len())
	var h data.Batch
	for i := range loader.MicroBatches(0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := rows.Fill(&h, 0, i); err != nil {
			return nil, err
		}
		batch, err := feeder.Load(hostBatch(&h))
		if err != nil {
			return nil, err
		}
		var logps []float64
		if err := tape.Run("reference", func() { logps = modelLogps(tape, m, batch, &h) }); err != nil {
			return nil, err
		}
		for s, row := range h.Indices {
			side := 0
			if !p.options.Unpaired() && s >= len(h.Indices)/2 {
				side = 1
			}
			out[row][side] = logps[s]
		}
		if progress != nil {
			progress(i+1, loader.MicroBatches(0))
		}
	}
	return out, nil
}

// precomputeKey names what precomputed values depend on: tokens, reference and arithmetic.
func precomputeKey(p *preferenceRows, ref *ReferenceSpec, device string, bf16, reduced bool) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, "2", device, bf16, bf16 && reduced, p.options.Unpaired())
	ints := func(lists ...[]int32) {
		for _, l := range lists {
			_ = binary.Write(h, binary.LittleEndian, int32(len(l))) // a hash never fails
			_ = binary.Write(h, binary.LittleEndian, l)
		}
	}
	ds := p.Dataset()
	for i := range ds.Len() {
		if p.options.Unpaired() {
			u, err := ds.Unpaired(i)
			if err != nil {
				return "", err
			}
			ints(u.Prompt, u.Completion)
			continue
		}
		e, err := ds.Pair(i)
		if err != nil {
			return "", err
		}
		ints(e.Prompt[e.ChosenFrom:], e.Chosen, e.Prompt[e.RejectedFrom:], e.Rejected)
	}
	h.Write(ref.ConfigJSON)
	for _, dir := range ref.dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		if err != nil {
			return "", err
		}
		slices.Sort(files)
		for _, name := range files {
			f, err := os.Open(name)
			if err != nil {
				return "", err
			}
			_, err = io.Copy(h, f)
			if err := errors.Join(err, f.Close()); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
