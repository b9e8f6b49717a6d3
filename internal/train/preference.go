package train

import (
	"encoding/binary"
	"math"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Preference trains on answers that were preferred to others: DPO and its relatives on pairs, KTO on single answers. The loss
// of each pair and its derivatives are computed on the host in float64 from the answers' log-likelihoods; the gradient then
// flows through the head chunk by chunk, so that logits never exist whole.
type Preference struct {
	PreferenceOptions
	// Precomputed tells that batches come with the reference's log-likelihoods.
	Precomputed bool

	watch preferenceWatch
}

// Watch takes the metrics of a step and returns warnings.
func (o *Preference) Watch(m map[string]float64) []string { return o.watch.observe(m) }

// Name returns "dpo".
func (*Preference) Name() string { return "dpo" }

// The sums of a preference objective.
const (
	prefLoss = iota
	prefChosenReward
	prefRejectedReward
	prefAccurate
	prefChosenLogp
	prefRejectedLogp
	prefChosenCount
	prefRejectedCount
	prefNLL
	prefKL // Σ (policy − reference) log-likelihood over the answers; kto: its estimate
	prefSums
)

// Sums returns how many sums Loss gives.
func (*Preference) Sums() int { return prefSums }

// Count returns the number of pairs, or of single answers.
func (o *Preference) Count(b *data.Batch) float64 {
	if o.Unpaired() {
		return float64(b.Sequences())
	}
	return float64(b.Pairs())
}

// answersIn is the number of answers of a batch.
func answersIn(b *data.Batch) int {
	if b.Shared != nil {
		return 2 * b.Pairs()
	}
	return b.Sequences()
}

// NeedsMismatched tells that each batch comes with prompts and answers that do not belong together.
func (o *Preference) NeedsMismatched() bool { return o.is("kto") }

// Loss computes the loss of a micro-batch.
func (o *Preference) Loss(t *autograd.Tape, m model.Model, b *Micro) tensor.Tensor {
	ref := make([]float64, answersIn(b.Host))
	kl := 0.0
	if !o.ReferenceFree() {
		ref = o.reference(t, m, b)
	}
	if o.NeedsMismatched() {
		kl = o.divergence(t, m, b)
	}
	x := t.Rows(m.Forward(t, b.Batch), b.LossRows)
	head := m.Head()
	spec := tensor.CESpec{IgnoreIndex: data.IgnoreIndex, SoftCap: head.SoftCap}
	loss := t.LinearLogProbs(spec, x, head.W, b.Targets)
	rows := downloadRows(t, loss.Rows)
	var collision []float64
	if o.Weighted {
		collision = collisions(t, x, head, b.Targets, rows)
	}
	all := sumAnswers(b.Host, rows, collision)
	all.ref = ref
	var sums [prefSums]float64
	if o.Unpaired() {
		o.single(&all, b.Host.Desirable, kl, &sums)
	} else {
		o.pairs(&all, &sums)
	}
	if t.Training() {
		drow := t.Alloc(tensor.F32, b.LossRows.Len())
		upload(t, drow, rowDerivatives(b.Host, &all))
		t.LinearLogProbsBackward(spec, loss, x, head.W, b.Targets, drow)
	}
	out := t.Alloc(tensor.F32, prefSums)
	upload(t, out, sums[:])
	return out
}

// pairs computes the loss of the pairs, whose chosen answers come first in all.
func (o *Preference) pairs(all *answers, sums *[prefSums]float64) {
	n := len(all.logp) / 2
	chosen, rejected := all.slice(0, n), all.slice(n, 2*n)
	loss, nll := o.pairLoss(&chosen, &rejected)
	sums[prefLoss], sums[prefNLL] = loss, nll
	for i := range n {
		c, r := o.Beta*chosen.ratio(i), o.Beta*rejected.ratio(i)
		if o.is("simpo") || o.is("orpo") { // their rewards are of the mean token
			c, r = c/max(1, chosen.tokens[i]), r/max(1, rejected.tokens[i])
		}
		sums[prefChosenReward] += c
		sums[prefRejectedReward] += r
		if c > r {
			sums[prefAccurate]++
		}
		for _, s := range []struct {
			a   *answers
			col int
		}{{&chosen, prefChosenLogp}, {&rejected, prefRejectedLogp}} {
			logp := s.a.logp[i]
			if o.is("simpo") || o.is("orpo") {
				logp /= max(1, s.a.tokens[i])
			}
			sums[s.col] += logp
			sums[prefKL] += s.a.ratio(i) / 2
		}
	}
	sums[prefChosenCount], sums[prefRejectedCount] = float64(n), float64(n)
}

// single computes the loss of single answers.
func (o *Preference) single(all *answers, desirable []bool, kl float64, sums *[prefSums]float64) {
	if len(desirable) < len(all.logp) { // planning
		desirable = make([]bool, len(all.logp))
	}
	sums[prefLoss] = o.unpaired(all, desirable, kl)
	sums[prefKL] = kl * float64(len(all.logp))
	for i := range all.logp {
		reward, logp, count := prefChosenReward, prefChosenLogp, prefChosenCount
		if !desirable[i] {
			reward, logp, count = prefRejectedReward, prefRejectedLogp, prefRejectedCount
		}
		sums[reward] += o.Beta * all.ratio(i)
		sums[logp] += all.logp[i]
		sums[count]++
	}
}

// Metrics names the means as TRL does.
func (o *Preference) Metrics(sums []float64, count float64) map[string]float64 {
	mean := func(col int, n float64) float64 {
		if n == 0 {
			return 0
		}
		return sums[col] / n
	}
	nc, nr := sums[prefChosenCount], sums[prefRejectedCount]
	m := map[string]float64{
		"loss":             sums[prefLoss] / count,
		"rewards/chosen":   mean(prefChosenReward, nc),
		"rewards/rejected": mean(prefRejectedReward, nr),
		"logps/chosen":     mean(prefChosenLogp, nc),
		"logps/rejected":   mean(prefRejectedLogp, nr),
	}
	m["rewards/margins"] = m["rewards/chosen"] - m["rewards/rejected"]
	if !o.Unpaired() {
		m["rewards/accuracies"] = sums[prefAccurate] / count
	}
	if !o.ReferenceFree() {
		m["kl"] = sums[prefKL] / count
	}
	if sums[prefNLL] != 0 {
		m["nll_loss"] = sums[prefNLL] / count
	}
	return m
}

// reference returns the reference model's log-likelihoods of the answers.
func (o *Preference) reference(t *autograd.Tape, m model.Model, b *Micro) []float64 {
	if o.Precomputed {
		return append(b.Host.Reference, make([]float64, answersIn(b.Host)-len(b.Host.Reference))...) // planning knows none
	}
	return referenceLogps(t, m, b.Ref, b.Batch, b.Host)
}

// divergence estimates KTO's reference point: the mean of policy − reference over answers to other prompts, at least 0.
func (o *Preference) divergence(t *autograd.Tape, m model.Model, b *Micro) float64 {
	policy := modelLogps(t, m, b.Mismatched, b.Host.Mismatched)
	ref := referenceLogps(t, m, b.Ref, b.Mismatched, b.Host.Mismatched)
	var sum float64
	for i := range policy {
		sum += policy[i] - ref[i]
	}
	return max(0, sum/float64(max(1, len(policy))))
}

// referenceLogps is modelLogps of the reference: another model, or the policy with its adapter switched off.
func referenceLogps(t *autograd.Tape, m, ref model.Model, b *nn.Batch, h *data.Batch) (out []float64) {
	if ref != nil {
		return modelLogps(t, ref, b, h)
	}
	t.WithoutAdapter(func() { out = modelLogps(t, m, b, h) })
	return out
}

// modelLogps returns a model's log-likelihood of each answer of a batch, without recording.
func modelLogps(t *autograd.Tape, m model.Model, b *nn.Batch, h *data.Batch) []float64 {
	var out []float64
	t.Discard(func() {
		x := t.Rows(m.Forward(t, b), b.LossRows)
		head := m.Head()
		spec := tensor.CESpec{IgnoreIndex: data.IgnoreIndex, SoftCap: head.SoftCap}
		out = sumAnswers(h, downloadRows(t, t.LinearLogProbs(spec, x, head.W, b.Targets).Rows), nil).logp
	})
	return out
}

// collisions returns log Σ p² of each row of logits: of the probability that two draws agree. It is the log-sum-exp of twice
// the logits, less twice that of the logits.
func collisions(t *autograd.Tape, x *autograd.Var, head model.Head, targets tensor.Tensor, rows []float32) []float64 {
	var out []float64
	t.Discard(func() {
		spec := tensor.CESpec{IgnoreIndex: data.IgnoreIndex, SoftCap: head.SoftCap}
		doubled := downloadRows(t, t.LinearLogProbsScaled(spec, 2, x, head.W, targets).Rows)
		for i := 0; i < len(rows); i += tensor.CECols {
			out = append(out, float64(doubled[i+tensor.CELSE])-2*float64(rows[i+tensor.CELSE]))
		}
	})
	return out
}

// eachTarget calls fn with the answer, the token's place in the batch and the number of each row of the loss.
func eachTarget(b *data.Batch, fn func(answer, at, row int)) {
	if s := b.Shared; s != nil {
		for row, at := range s.LossRows {
			fn(int(s.LossAnswers[row]), int(at), row)
		}
		return
	}
	row := 0
	for s := range b.Sequences() {
		for i := b.Cu[s]; i < b.Cu[s+1]; i++ {
			if b.Targets[i] != data.IgnoreIndex {
				fn(s, int(i), row)
				row++
			}
		}
	}
}

func inPrompt(b *data.Batch, at int) bool { return len(b.Prompt) > 0 && b.Prompt[at] }

// sumAnswers adds the rows of a cross-entropy up by sequence. collision, if not nil, is log Σ p² of each row, for WPO.
func sumAnswers(b *data.Batch, rows []float32, collision []float64) answers {
	a := newAnswers(answersIn(b))
	aligned := make([]float64, answersIn(b))
	eachTarget(b, func(s, at, row int) {
		logp := float64(rows[row*tensor.CECols+tensor.CELogp])
		if inPrompt(b, at) {
			a.prompt[s] += logp
			a.promptTokens[s]++
			return
		}
		a.logp[s] += logp
		a.tokens[s]++
		if collision != nil {
			aligned[s] += logp - collision[row]
		}
	})
	if collision != nil {
		a.weight = make([]float64, answersIn(b))
		for s := range a.weight {
			a.weight[s] = math.Exp(aligned[s] / max(1, a.tokens[s]))
		}
	}
	return a
}

// rowDerivatives spreads the derivatives by sequence over the rows that have a target.
func rowDerivatives(b *data.Batch, a *answers) []float64 {
	var out []float64
	eachTarget(b, func(s, at, _ int) {
		if inPrompt(b, at) {
			out = append(out, a.dPrompt[s])
			return
		}
		out = append(out, a.d[s])
	})
	return out
}

// slice returns answers lo … hi−1, sharing memory.
func (a *answers) slice(lo, hi int) answers {
	s := answers{
		logp: a.logp[lo:hi], ref: a.ref[lo:hi], tokens: a.tokens[lo:hi], d: a.d[lo:hi],
		prompt: a.prompt[lo:hi], promptTokens: a.promptTokens[lo:hi], dPrompt: a.dPrompt[lo:hi],
	}
	if a.weight != nil {
		s.weight = a.weight[lo:hi]
	}
	return s
}

// downloadRows copies a float32 tensor to the host.
func downloadRows(t *autograd.Tape, x tensor.Tensor) []float32 {
	raw := make([]byte, x.Bytes())
	if err := t.Backend().Download(raw, x); err != nil {
		t.Fail("download", err)
	}
	out := make([]float32, x.Len())
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

func upload(t *autograd.Tape, dst tensor.Tensor, x []float64) {
	raw := make([]byte, dst.Bytes())
	for i, v := range x {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(float32(v)))
	}
	if err := t.Backend().Upload(dst, raw); err != nil {
		t.Fail("upload", err)
	}
}
