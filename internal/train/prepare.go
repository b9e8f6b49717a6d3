package train

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
)

// Data is a run's training and evaluation data, tokenised.
type Data struct {
	Train, Eval             *data.Loader // Eval is nil without evaluation data
	TrainLedger, EvalLedger *data.Ledger // EvalLedger is nil when the rows come from the training data
	Fingerprint             string
	Warnings                []string
	datasets                []*data.Dataset
	train, eval             *data.Dataset // what the loaders read; eval may be nil
	// preferences wrap Train and Eval in a preference run; nil otherwise.
	preferences, evalPreferences *preferenceRows
	reward                       bool // the rows are for a reward model
}

// TrainBatches gives the training data as micro-batches.
func (d *Data) TrainBatches() Batches {
	switch {
	case d.preferences != nil:
		return d.preferences
	case d.reward:
		return newRewardRows(d.Train)
	}
	return d.Train
}

// EvalBatches gives the evaluation data as micro-batches, or nil.
func (d *Data) EvalBatches() Batches {
	switch {
	case d.Eval == nil:
		return nil
	case d.evalPreferences != nil:
		return d.evalPreferences
	case d.reward:
		return newRewardRows(d.Eval)
	}
	return d.Eval
}

// Close frees the data.
func (d *Data) Close() error {
	var errs []error
	for _, ds := range d.datasets {
		errs = append(errs, ds.Close())
	}
	return errors.Join(errs...)
}

// Describe reads the model's config.json without its weights, for a command that trains it, or "" for its use.
func Describe(modelDir, command string) (model.Info, error) {
	raw, err := os.ReadFile(filepath.Join(modelDir, checkpoint.ConfigFile))
	if errors.Is(err, os.ErrNotExist) {
		if _, dirErr := os.Stat(modelDir); dirErr != nil {
			return model.Info{}, fmt.Errorf("model %s: no such directory; give the directory of a Hugging Face checkpoint", modelDir)
		}
		return model.Info{}, fmt.Errorf("model %s: config.json is missing; a Hugging Face checkpoint is config.json, model.safetensors and tokenizer.json", modelDir)
	}
	if err != nil {
		return model.Info{}, err
	}
	m, err := model.New(raw, nn.NewBuilder(nn.Options{}), model.Options{Score: command == rewardCommand})
	if err = errors.Join(err, checkpoint.CheckQuantisation(raw)); err != nil {
		return model.Info{}, fmt.Errorf("model %s: %w", modelDir, err)
	}
	return m.Info(), nil
}

// CheckLength tells whether sequences of max_length fit the model: learned positions end, rotary ones are only untrained
// beyond what the model has seen.
func CheckLength(info model.Info, maxLength int) (warning string, err error) {
	if maxLength <= info.MaxPositions {
		return "", nil
	}
	if info.LearnedPositions {
		return "", fmt.Errorf("max_length %d: the model has %d learned positions; set max_length to that or less", maxLength, info.MaxPositions)
	}
	return fmt.Sprintf("max_length %d is beyond the model's max_position_embeddings %d: it has not seen such positions", maxLength, info.MaxPositions), nil
}

// OpenData reads, renders and tokenises the data of a run. cacheDir keeps tokenised rows between runs; "" does
// not.
func OpenData(ctx context.Context, res *config.Resolved, modelDir string, info model.Info, cacheDir string, progress func(rows int)) (*Data, error) {
	cfg := &res.Config
	tok, raw, err := data.LoadTokenizer(modelDir)
	if err != nil {
		return nil, err
	}
	tmpl, warning, err := data.ResolveTemplate(cfg.ChatTemplate, raw, time.Time{})
	if err != nil {
		return nil, err
	}
	d := &Data{}
	opt := data.Options{
		MaxLength: cfg.MaxLength, Vocab: info.VocabSize, Template: tmpl, AssistantOnlyLoss: cfg.AssistantOnlyLoss,
		TruncationMode: data.TruncationMode(cfg.TruncationMode), Seed: uint64(cfg.DataSeed.Or(cfg.Seed)), Workers: cfg.DatasetNumProc.Or(0),
		CacheDir: cacheDir, Progress: progress, SkipBadRows: cfg.OnBadRow == "skip",
	}
	if v, ok := cfg.CompletionOnlyLoss.Get(); ok {
		opt.CompletionOnlyLoss = &v
	}
	preference := preferenceOf(cfg)
	switch res.Command {
	case "dpo":
		opt.Objective = data.Preference
		if preference.Unpaired() {
			opt.Objective = data.Unpaired
		}
	case rewardCommand:
		opt.Objective, opt.Reward, d.reward = data.Preference, true, true
	}
	opt.Overflow = OverflowOf(cfg)
	ds, ledger, err := openRows(ctx, cfg.TrainDatasets(), cfg.DatasetTrainSplit, opt, tok)
	if err != nil {
		return nil, err
	}
	d.TrainLedger = ledger
	d.datasets = append(d.datasets, ds)
	evalSet, err := d.openEval(ctx, cfg, opt, tok, &ds)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if warning != "" && (usesTemplate(ledger) || usesTemplate(d.EvalLedger)) {
		d.Warnings = append(d.Warnings, warning)
	}
	d.train, d.eval = ds, evalSet
	if d.Train, d.Eval, err = d.loaders(cfg); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if opt.Objective != data.Supervised && !d.reward {
		d.preferences = newPreferenceRows(d.Train, preference)
		if d.Eval != nil {
			d.evalPreferences = newPreferenceRows(d.Eval, preference)
		}
	}
	d.Fingerprint = fingerprint(ds, cfg, opt.Seed)
	return d, nil
}

// Rebatched is the same data in micro-batches as another config asks, which differs from the data's own in their sizes only.
// It is valid until d is closed, and not to be closed itself.
func (d *Data) Rebatched(cfg *config.Config) (*Data, error) {
	r := &Data{train: d.train, eval: d.eval, reward: d.reward}
	var err error
	if r.Train, r.Eval, err = r.loaders(cfg); err != nil {
		return nil, err
	}
	if d.preferences != nil {
		r.preferences = newPreferenceRows(r.Train, preferenceOf(cfg))
	}
	if d.evalPreferences != nil {
		r.evalPreferences = newPreferenceRows(r.Eval, preferenceOf(cfg))
	}
	return r, nil
}

// loaders makes micro-batches of the rows as a config asks; eval is nil without evaluation data.
func (d *Data) loaders(cfg *config.Config) (train, eval *data.Loader, err error) {
	train, err = data.NewLoader(d.train, data.LoaderOptions{
		BatchSize: cfg.PerDeviceTrainBatchSize, Packing: packingOf(cfg.Packing, cfg.PackingStrategy), PaddingFree: cfg.PaddingFree,
		GroupByLength: cfg.TrainSamplingStrategy == "group_by_length", Shuffle: cfg.TrainSamplingStrategy != "sequential",
		Seed: uint64(cfg.DataSeed.Or(cfg.Seed)), DropLast: cfg.DataloaderDropLast,
	})
	if err != nil || d.eval == nil {
		return train, nil, err
	}
	eval, err = data.NewLoader(d.eval, data.LoaderOptions{
		BatchSize: cfg.PerDeviceEvalBatchSize, Packing: packingOf(cfg.EvalPacking.Or(cfg.Packing), cfg.PackingStrategy), PaddingFree: cfg.PaddingFree,
	})
	return train, eval, err
}

// openEval opens the evaluation data, or splits it off the training data.
func (d *Data) openEval(ctx context.Context, cfg *config.Config, opt data.Options, tok data.Tokenizer, train **data.Dataset) (*data.Dataset, error) {
	switch {
	case cfg.EvalStrategy == "no":
		return nil, nil
	case len(cfg.EvalDataset) > 0:
		ds, ledger, err := openRows(ctx, cfg.EvalDataset, cfg.DatasetTestSplit, opt, tok)
		if err != nil {
			return nil, fmt.Errorf("eval_dataset: %w", err)
		}
		d.EvalLedger = ledger
		d.datasets = append(d.datasets, ds)
		return ds, nil
	case cfg.TestSize > 0:
		t, e, err := (*train).Split(cfg.TestSize, opt.Seed)
		if err != nil {
			return nil, err
		}
		*train = t
		return e, nil
	case cfg.DatasetTestSplit != "":
		sets := slices.Clone(cfg.TrainDatasets())
		for i := range sets {
			sets[i].Split = "" // that is the split to train on
		}
		ds, ledger, err := openRows(ctx, sets, cfg.DatasetTestSplit, opt, tok)
		if err != nil {
			return nil, fmt.Errorf("dataset_test_split: %w", err)
		}
		d.EvalLedger = ledger
		d.datasets = append(d.datasets, ds)
		return ds, nil
	}
	return nil, nil
}

// splitStrategy packs by best-fit decreasing after it has cut rows longer than max_length.
const splitStrategy = "bfd_split"

// OverflowOf is what the packing of a run does with rows longer than max_length.
func OverflowOf(cfg *config.Config) data.Overflow {
	switch {
	case packingOf(cfg.Packing, cfg.PackingStrategy) == data.PackWrapped:
		return data.KeepLong
	case cfg.Packing && cfg.PackingStrategy == splitStrategy:
		return data.SplitLong
	}
	return data.Truncate
}

func packingOf(on bool, strategy string) data.Packing {
	switch {
	case !on:
		return data.NoPacking
	case strategy == splitStrategy:
		return data.PackBestFit
	}
	return data.Packing(strategy)
}

// usesTemplate tells whether rows of the data are rendered by the chat template.
func usesTemplate(l *data.Ledger) bool {
	return l != nil && l.Layouts[data.LayoutMessages]+l.Layouts[data.LayoutShareGPT]+l.Layouts[data.LayoutAlpaca] > 0
}

func sources(list []config.Dataset, split string) ([]data.Source, error) {
	var out []data.Source
	for _, d := range list {
		layout, err := data.ParseLayout(d.Type)
		if err != nil {
			return nil, fmt.Errorf("datasets: %s: %w", d.Path, err)
		}
		s := data.Source{Path: d.Path, Split: d.Split, Layout: layout, Columns: d.Columns, Fraction: d.Fraction, Weight: d.Weight}
		if s.Split == "" {
			s.Split = split
		}
		out = append(out, s)
	}
	return out, nil
}

// openRows opens datasets of a run config.
func openRows(ctx context.Context, list []config.Dataset, split string, opt data.Options, tok data.Tokenizer) (*data.Dataset, *data.Ledger, error) {
	src, err := sources(list, split)
	if err != nil {
		return nil, nil, err
	}
	return data.Open(ctx, src, opt, tok)
}

// fingerprint identifies rows and order: a run is resumed only on the same.
func fingerprint(ds *data.Dataset, cfg *config.Config, seed uint64) string {
	h := fnv.New64a()
	for i := range ds.Len() {
		n := ds.Length(i)
		h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	}
	fmt.Fprint(h, seed, cfg.Packing, cfg.PackingStrategy, cfg.PaddingFree, cfg.TrainSamplingStrategy, cfg.DataloaderDropLast, cfg.MaxLength)
	return fmt.Sprintf("%d rows %016x", ds.Len(), h.Sum64())
}
