package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// ioChunk is how many elements are moved between device and file at once.
const ioChunk = 1 << 18

// modelTensors lists the tensors of a full checkpoint: every parameter in the type it had, then what the source has
// besides, such as the vision tower of a model whose text part is trained.
func modelTensors(e *Engine, src *checkpoint.Reader) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	known := map[string]bool{}
	for _, w := range e.Store.Weights {
		if !w.InModel() {
			continue
		}
		known[w.Stored] = true
		out = append(out, checkpoint.Tensor{Name: w.Stored, DType: w.DType, Shape: w.Shape, Write: func(wr io.Writer) error {
			if src != nil && w.Frozen && w.Master.DType == tensor.BF16 && w.DType != tensor.BF16 { // rounded here, exact there
				return copyFrom(wr, src, w.Stored)
			}
			return writeAs(wr, e.Backend, w.Master, w.DType)
		}})
	}
	if src == nil {
		return out
	}
	for _, name := range e.Store.Extra {
		info, _ := src.Info(name)
		dt, ok := checkpoint.ParseDType(info.DType)
		if known[name] || !ok {
			continue
		}
		out = append(out, checkpoint.Tensor{Name: name, DType: dt, Shape: info.Shape, Write: func(wr io.Writer) error {
			return copyFrom(wr, src, name)
		}})
	}
	return out
}

// copyFrom writes a tensor as it is in the source.
func copyFrom(w io.Writer, src *checkpoint.Reader, name string) error {
	b, err := src.Bytes(name)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// writeAs writes x, converted to dt, a chunk at a time.
func writeAs(w io.Writer, d tensor.Device, x tensor.Tensor, dt tensor.DType) error {
	size := x.DType.Size()
	buf := make([]byte, min(ioChunk, x.Len())*size)
	for lo := 0; lo < x.Len(); lo += ioChunk {
		hi := min(lo+ioChunk, x.Len())
		b := buf[:(hi-lo)*size]
		if err := d.Download(b, x.Slice(lo, hi)); err != nil {
			return err
		}
		if x.DType == tensor.F32 && dt != tensor.F32 {
			b = narrow(b, dt)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// narrow rounds float32 to bfloat16 or float16, to nearest even, in place.
func narrow(b []byte, dt tensor.DType) []byte {
	n := len(b) / 4
	for i := range n {
		f := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		h := tensor.ToBF16(f)
		if dt == tensor.F16 {
			h = tensor.ToF16(f)
		}
		binary.LittleEndian.PutUint16(b[2*i:], h)
	}
	return b[:2*n]
}

// exactInModel tells whether the saved model holds the trainable parameters without rounding.
func exactInModel(s *nn.Store) bool {
	for _, w := range s.Trainable {
		if w.DType != tensor.F32 && w.AdapterName == "" {
			return false
		}
	}
	return true
}

const masterTensor = "master"

// stateOf gives the tensors that a resumed run needs beside the model, by name.
func stateOf(e *Engine) map[string]tensor.Tensor {
	m := e.Opt.States()
	if !exactInModel(e.Store) {
		m[masterTensor] = e.Store.Values
	}
	if s := e.spec.Reference; s != nil && s.Moving {
		for _, w := range e.refStore.Weights {
			m[referencePrefix+w.Name] = w.Master
		}
	}
	return m
}

// referencePrefix is what the names of a moving reference model's weights begin with.
const referencePrefix = "reference."

// stateTensors lists what a resumed run needs beside the model: the optimiser's states and, where the model's files round,
// the parameters as they are.
func stateTensors(e *Engine) []checkpoint.Tensor {
	m := stateOf(e)
	var out []checkpoint.Tensor
	for _, name := range slices.Sorted(maps.Keys(m)) {
		x := m[name]
		out = append(out, checkpoint.Tensor{Name: name, DType: x.DType, Shape: x.Shape(), Write: func(w io.Writer) error {
			return writeAs(w, e.Backend, x, x.DType)
		}})
	}
	return out
}

// restoreTensors loads what stateTensors wrote.
func restoreTensors(e *Engine, r *checkpoint.Reader) error {
	m := stateOf(e)
	var faults []error
	for name, x := range m {
		info, ok := r.Info(name)
		if !ok || info.Bytes != x.Bytes() {
			faults = append(faults, fmt.Errorf("training state %s: found %v, needed is %v: the run was made with another optimiser or other trainable parameters", name, info.Shape, x.Shape()))
			continue
		}
		b, err := r.Bytes(name)
		if err == nil {
			err = e.Backend.Upload(x, b)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("training state %s: %w", name, err))
		}
	}
	if len(faults) == 0 {
		return e.Store.Round()
	}
	return errors.Join(faults...)
}

// window accumulates what is logged as a mean over the steps since the last log.
type window struct {
	Steps    int                `json:"steps"`
	Means    map[string]float64 `json:"sums"`
	GradNorm float64            `json:"grad_norm"`
	Tokens   int64              `json:"tokens"`
}

// runState is the part of the training state that only the loop knows.
type runState struct {
	Window    window     `json:"window"`
	BestStep  int64      `json:"best_step"`
	BestValue float64    `json:"best_value"`
	HasBest   bool       `json:"has_best"`
	Noise     noiseScale `json:"gradient_noise"`
	NoBetter  int        `json:"evaluations_without_improvement"`
	Data      string     `json:"data"` // fingerprint of the training data and its order
}

const runStateKey = "loop"

// save writes checkpoint-<step> and removes those over the limit.
func (r *run) save() error {
	extra, err := json.Marshal(runState{r.window, r.best.step, r.best.value, r.best.ok, r.noise, r.patience.count, r.dataFingerprint()})
	if err != nil {
		return err
	}
	settings, err := json.Marshal(r.settings())
	if err != nil {
		return err
	}
	st := &checkpoint.State{
		GlobalStep: int64(r.step), MicroStep: int64(r.micro), Epoch: r.epoch(), TokensSeen: r.tokens, TrainedTokensSeen: r.trained,
		InstructionSet: r.e.Backend.Name(),
		Extra:          map[string]json.RawMessage{runStateKey: extra, "settings": settings},
	}
	cfg := &r.cfg.Config
	path, err := checkpoint.SaveCheckpoint(cfg.OutputDir, st, stateTensors(r.e), func(dir string) error {
		if err := r.saveModel(dir); err != nil {
			return err
		}
		return checkpoint.WriteTrainerState(dir, r.trainerState())
	})
	if err != nil {
		return err
	}
	r.lastSaved = r.step
	r.report.Saved(path)
	keep := []string{path}
	if r.best.ok {
		keep = append(keep, checkpoint.StepDir(cfg.OutputDir, r.best.step))
	}
	return checkpoint.Rotate(cfg.OutputDir, cfg.SaveTotalLimit, keep...)
}

func (r *run) saveModel(dir string) error {
	if r.e.spec.Adapter != nil {
		return saveAdapter(dir, r.e, &r.cfg.Config, r.modelDir)
	}
	overrides := map[string]any{}
	maps.Copy(overrides, r.overrides)
	if r.cfg.TrainFromScratch {
		// Whatever type config.json was written for, weights drawn at random are float32.
		overrides["dtype"] = "float32"
	}
	return checkpoint.SaveModel(dir, r.modelDir, modelTensors(r.e, r.source), overrides, 0)
}

func (r *run) trainerState() *checkpoint.TrainerState {
	cfg := &r.cfg.Config
	s := &checkpoint.TrainerState{
		Epoch: r.epoch(), GlobalStep: int64(r.step), MaxSteps: int64(r.total), LogHistory: r.history,
		LoggingSteps: int64(r.loggingSteps), NumInputTokensSeen: r.tokens,
		NumTrainEpochs: int64(math.Ceil(r.totalEpochs())), TrainBatchSize: int64(cfg.PerDeviceTrainBatchSize), TotalFLOs: r.flops(),
	}
	if cfg.SaveStrategy == "steps" {
		s.SaveSteps = int64(cfg.SaveEvery(r.total))
	}
	if r.evalEvery > 0 {
		s.EvalSteps = int64(r.evalEvery)
	}
	if r.best.ok {
		path := filepath.Base(checkpoint.StepDir(cfg.OutputDir, r.best.step))
		s.BestGlobalStep, s.BestMetric, s.BestModelCheckpoint = &r.best.step, &r.best.value, &path
	}
	return s
}

// resume continues from a checkpoint directory: counters, logs, optimiser states. The engine already holds its weights.
func (r *run) resume(dir string) error {
	st, reader, err := checkpoint.LoadState(dir)
	if err != nil {
		return err
	}
	defer reader.Close()
	var rs runState
	if err := json.Unmarshal(st.Extra[runStateKey], &rs); err != nil {
		return fmt.Errorf("%s: training state: %w", dir, err)
	}
	if got := r.dataFingerprint(); rs.Data != got {
		return fmt.Errorf("%s was made with other training data or another way of batching it (then %s, now %s); resume with what the run began with, or start anew with --overwrite", dir, rs.Data, got)
	}
	if now := r.e.Backend.Name(); st.InstructionSet != now {
		r.report.Warn(fmt.Sprintf("the run began on %s and goes on on %s: the result may differ in the last bits from an undisturbed run", st.InstructionSet, now))
	}
	r.warnChanged(st.Extra["settings"])
	if err := restoreTensors(r.e, reader); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	old, err := checkpoint.ReadTrainerState(dir)
	if err != nil {
		return err
	}
	r.history = old.LogHistory
	r.step, r.micro, r.tokens, r.trained = int(st.GlobalStep), int(st.MicroStep), st.TokensSeen, st.TrainedTokensSeen
	r.window, r.best = rs.Window, best{rs.BestStep, rs.BestValue, rs.HasBest}
	r.patience.count, r.noise = rs.NoBetter, rs.Noise
	r.lastSaved = r.step
	r.startStep = r.step
	return nil
}
