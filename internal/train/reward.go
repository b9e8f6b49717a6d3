package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Reward trains a model to score answers (Bradley and Terry, 1952; Ouyang et al., 2022). The reward of prompt and answer is
// score·h, with h the last hidden state of its last token, and the loss of a pair
//
//	−log σ(r_chosen − r_rejected − margin) + Center·(r_chosen + r_rejected)²
//
// as in TRL's RewardTrainer. The margin is the row's own, 0 if it has none. Rewards are shifted by any constant without a change
// of the first term; the second (Eisenstein et al., 2023) keeps them around 0.
type Reward struct {
	Center float64
}

// rewardCommand is the command that trains reward models.
const rewardCommand = "reward"

// scoreModule is what transformers calls the head of a model that scores sequences.
const scoreModule = "score"

// NewReward returns the objective of `mltrain reward`.
func NewReward(cfg *config.Config) (*Reward, error) {
	if cfg.TruncationMode == string(data.KeepEnd) {
		return nil, fmt.Errorf("truncation_mode keep_end: a reward model judges whole answers, and rows longer than max_length are left out; remove the key")
	}
	return &Reward{Center: cfg.CenterRewardsCoefficient}, nil
}

// Name returns "reward".
func (*Reward) Name() string { return "reward" }

// The sums of the reward objective.
const (
	rewLoss = iota
	rewAccurate
	rewMargin
	rewTotal
	rewMin // of the micro-batch
	rewMax // of the micro-batch
	rewBatches
	rewSums
)

// Sums returns how many sums Loss gives.
func (*Reward) Sums() int { return rewSums }

// Count returns the number of pairs.
func (*Reward) Count(b *data.Batch) float64 { return float64(b.Pairs()) }

// Loss computes the loss of a micro-batch whose answers have one target each, at the token that is scored.
func (o *Reward) Loss(t *autograd.Tape, m model.Model, b *Micro) tensor.Tensor {
	y := t.Scores(t.Rows(m.Forward(t, b.Batch), b.LossRows.Slice(0, 2*b.Host.Pairs())), m.Head().W)
	rewards := downloadRows(t, y.Value)
	sums, derivatives := o.pairs(rewards, b.Host.Margins)
	if t.Training() {
		d := t.Alloc(tensor.F32, y.Value.Shape()...)
		upload(t, d, derivatives)
		t.Seed(y, d)
	}
	out := t.Alloc(tensor.F32, rewSums)
	upload(t, out, sums[:])
	return out
}

// pairs returns the sums over the pairs of rewards, chosen ones first, and the derivatives of the summed loss by each reward.
// margins may be shorter than the pairs; the others are 0.
func (o *Reward) pairs(rewards []float32, margins []float64) (sums [rewSums]float64, d []float64) {
	n := len(rewards) / 2
	d = make([]float64, len(rewards))
	sums[rewMin], sums[rewMax], sums[rewBatches] = math.Inf(1), math.Inf(-1), 1
	for i := range n {
		c, r := float64(rewards[i]), float64(rewards[n+i])
		x := c - r
		if i < len(margins) {
			x -= margins[i]
		}
		sums[rewLoss] += -logSigmoid(x) + o.Center*(c+r)*(c+r)
		pull, centre := sigmoid(-x), 2*o.Center*(c+r)
		d[i], d[n+i] = centre-pull, centre+pull
		if c > r {
			sums[rewAccurate]++
		}
		sums[rewMargin] += c - r
		sums[rewTotal] += c + r
		sums[rewMin], sums[rewMax] = min(sums[rewMin], c, r), max(sums[rewMax], c, r)
	}
	return sums, d
}

// Metrics names the means as TRL does; min_reward and max_reward are those of a micro-batch.
func (*Reward) Metrics(sums []float64, count float64) map[string]float64 {
	return map[string]float64{
		"loss": sums[rewLoss] / count, "accuracy": sums[rewAccurate] / count, "margin": sums[rewMargin] / count,
		"mean_reward": sums[rewTotal] / (2 * count), "min_reward": sums[rewMin] / sums[rewBatches], "max_reward": sums[rewMax] / sums[rewBatches],
	}
}

// addScore makes an adapter that of a reward model: the head is trained whole.
func addScore(a *nn.Adapter) {
	a.Task = nn.TaskScore
	if !slices.Contains(a.Save, scoreModule) {
		a.Save = append(slices.Clone(a.Save), scoreModule)
	}
}

// rewardConfig returns what config.json of the trained model says otherwise than that of the model in modelDir; nothing unless
// the run trains a reward model.
func (j *Job) rewardConfig(configJSON []byte) (map[string]any, error) {
	rows, ok := j.Train.(rewardRows)
	if !ok {
		return nil, nil
	}
	return model.RewardConfig(configJSON, rows.Dataset().PadID())
}

// rewardRows gives the micro-batches of a reward run.
type rewardRows struct {
	*data.Loader
	shared bool // pairs are laid out with their prompt once
}

func newRewardRows(l *data.Loader) rewardRows { return rewardRows{l, l.CanShare()} }

// Limits bounds the micro-batches.
func (r rewardRows) Limits() data.Limits {
	if r.shared {
		return r.SharedLimits()
	}
	return r.Loader.Limits()
}

// Fill makes b micro-batch i, the scored token of each answer its only target.
func (r rewardRows) Fill(b *data.Batch, epoch, i int) error {
	fill := r.FillPairs
	if r.shared {
		fill = r.FillShared
	}
	if err := fill(b, epoch, i); err != nil {
		return err
	}
	b.TargetLast(r.Dataset().PadID())
	b.Margins = b.Margins[:0]
	for _, row := range b.Indices[:b.Pairs()] {
		b.Margins = append(b.Margins, r.Dataset().Margin(int(row)))
	}
	return nil
}
