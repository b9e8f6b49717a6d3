package diagnose

import (
	"fmt"
	"math"
)

// plateauEntries is how many entries a loss may stay where it is before it is said.
const plateauEntries = 20

// plateau finds a loss that has not moved since the start though it could: it is that of guessing, or nothing pulls at it. A good
// model on text like what it knows does not move either, and nothing is wrong.
func (m *Monitor) plateau() *Finding {
	n := len(m.points)
	if n < plateauEntries || m.last().step*10 < m.maxSteps() {
		return nil
	}
	loss := m.recent(n, lossOf)
	first, now := mean(loss[:5]), mean(loss[n-5:])
	if math.Abs(first-now) > 0.01*math.Abs(first) {
		return nil
	}
	var why, try []string
	if v, ok := m.facts.Number(KeyVocab); ok && v > 1 && m.last().isTokened && now > 0.6*math.Log(v) {
		why = append(why, fmt.Sprintf("guessing among the vocabulary's %.0f tokens has a loss of %.4g", v, math.Log(v)))
		try = append(try, "mltrain data preview, to see whether the labels belong to their tokens: they may be shifted, or the tokenizer another model's")
	}
	if norm := median(m.recent(n, normOf)); norm < 1e-3 {
		why = append(why, fmt.Sprintf("the gradient norm is %.3g", norm))
		try = append(try, "fewer masked labels: with next to none there is nothing to learn from (see the training data's trained tokens)")
	}
	if lr := m.peakLR(); m.last().hasLR && lr < 1e-6 {
		why = append(why, fmt.Sprintf("the learning rate was at most %.3g", lr))
		try = append(try, "a learning_rate 10 to 100 times as high")
	}
	if len(why) == 0 {
		return nil
	}
	return &Finding{
		Kind: Plateau, Step: m.last().step, What: fmt.Sprintf("the loss has not moved in %d steps", m.last().step),
		Evidence: append([]string{fmt.Sprintf("loss %.4g at the start, %.4g now", first, now)}, why...),
		Try:      append(try, "a higher learning_rate"),
	}
}

// masked finds training data with next to no labels: one a row, or one in two hundred tokens.
func (m *Monitor) masked() *Finding {
	rows, tokens, trained := m.facts.or0(KeyTrainRows), m.facts.or0(KeyTokens), m.facts.or0(KeyTrainTokens)
	if rows == 0 || tokens == 0 || trained > 1.5*rows && trained > tokens/200 {
		return nil
	}
	return &Finding{
		Kind: Masked, Step: int(m.facts.or0("step")), What: "nearly all labels are masked: there is little to learn from",
		Evidence: []string{fmt.Sprintf("%.0f of %.0f tokens are trained, %.2g a row", trained, tokens, trained/rows)},
		Try: []string{
			"mltrain data preview, which shows the trained tokens", "a longer max_length or truncation_mode keep_end, if answers are cut off",
			"completion_only_loss false or assistant_only_loss false, to train prompts too",
		},
	}
}

// leak finds evaluation rows that are trained on.
func (m *Monitor) leak() *Finding {
	rows, leaked := m.facts.or0(KeyEvalRows), m.facts.or0(KeyLeakedRows)
	if leaked == 0 || leaked*100 < rows {
		return nil
	}
	return &Finding{
		Kind: Leak, Step: int(m.facts.or0("step")), What: "evaluation rows are in the training data too: the evaluation will look better than it is",
		Evidence: []string{fmt.Sprintf("%.0f of %.0f evaluation rows have the very tokens of a training row", leaked, rows)},
		Try:      []string{"other rows for eval_dataset", "training data without duplicates before test_size splits it"},
	}
}

// overfit finds that the evaluation has got worse, three times in a row and by a twentieth, for a twentieth of the run, while the
// training loss fell.
func (m *Monitor) overfit() *Finding {
	n := len(m.evals)
	if n < 4 {
		return nil
	}
	best := 0
	for i, e := range m.evals {
		if e.loss < m.evals[best].loss {
			best = i
		}
	}
	b, limit := m.evals[best], m.evals[best].loss+max(0.05*math.Abs(m.evals[best].loss), 0.02)
	now := m.evals[n-1]
	// At an evaluation before the first step there is no training loss yet.
	falls := math.IsNaN(b.train) && len(m.points) > 0 && now.train < m.points[0].loss || now.train < b.train
	if best > n-4 || min(m.evals[n-3].loss, m.evals[n-2].loss, now.loss) <= limit || (now.step-b.step)*20 < m.maxSteps() || !falls {
		return nil
	}
	since := m.evals[best+1].step
	f := &Finding{
		Kind: Overfit, Step: now.step, What: fmt.Sprintf("over-fitting since step %d: the evaluation gets worse while the training loss falls; the best step was %d", since, b.step),
		Evidence: []string{fmt.Sprintf("eval_loss %.4g at step %d, %.4g at step %d", b.loss, b.step, now.loss, now.step), fmt.Sprintf("training loss now %.4g", now.train)},
		Try:      []string{"load_best_model_at_end with early_stopping_patience", "fewer num_train_epochs", "more data, or weight_decay, lora_dropout or neftune_noise_alpha"},
	}
	if rows := m.facts.or0(KeyTrainRows); rows > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f training rows, seen %.3g times", rows, m.epochs()))
	}
	return f
}

func (m *Monitor) bestEval() float64 {
	best := math.Inf(1)
	for _, e := range m.evals {
		best = min(best, e.loss)
	}
	return best
}

func (m *Monitor) epochs() float64 {
	if len(m.points) == 0 {
		return 0
	}
	return m.last().epoch
}

// byHeart is a loss of tokens that says each is known beforehand.
const byHeart = 0.02

// memorised finds training rows that are known by heart after several passes, where no evaluation says that this is learning.
func (m *Monitor) memorised() *Finding {
	n := len(m.points)
	if n < 3 || !m.last().isTokened || m.epochs() < 3 {
		return nil
	}
	for _, p := range m.points[n-3:] {
		if p.loss > byHeart {
			return nil
		}
	}
	if k := len(m.evals); k > 0 && (m.evals[k-1].loss < 10*byHeart || m.evals[k-1].loss <= m.bestEval()) {
		return nil
	}
	f := &Finding{
		Kind: Memorised, Step: m.last().step, What: fmt.Sprintf("the training rows are known by heart after %.3g passes", m.epochs()),
		Evidence: []string{fmt.Sprintf("training loss %.2g", m.last().loss)},
		Try:      []string{"fewer num_train_epochs or max_steps", "more data", "an evaluation on held-out rows (test_size), to see what else the model learns"},
	}
	if rows := m.facts.or0(KeyTrainRows); rows > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f rows", rows))
	}
	if k := len(m.evals); k > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("eval_loss %.4g", m.evals[k-1].loss))
	}
	return f
}

// tooGood finds an evaluation that leaves nothing to predict.
func (m *Monitor) tooGood(e Entry) *Finding {
	loss := e.or0("eval_loss")
	if _, ok := e.Number("eval_mean_token_accuracy"); !ok || loss >= byHeart/2 {
		return nil
	}
	f := &Finding{
		Kind: TooGood, Step: int(e.or0("step")), What: "the evaluation is too good to be true",
		Evidence: []string{fmt.Sprintf("eval_loss %.2g: each token is known beforehand", loss)},
		Try:      []string{"mltrain data preview on the evaluation data: the answer may stand in the prompt", "rows that are not near-copies of training rows"},
	}
	if leaked := m.facts.or0(KeyLeakedRows); leaked > 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%.0f evaluation rows are training rows too", leaked))
	}
	return f
}
