package train

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// PreferenceOptions are those of TRL's DPOConfig, CPOConfig, ORPOConfig and KTOConfig that shape the loss.
type PreferenceOptions struct {
	LossTypes   []string
	LossWeights []float64 // of each loss type; empty weighs them all 1
	Beta        float64
	Smoothing   float64 // label_smoothing: robust, exo_pair, aot, aot_unpaired
	SimpoGamma  float64
	CPOAlpha    float64 // weight of the chosen answers' likelihood (cpo, simpo)
	DiscopopTau float64
	// Weighted is WPO's weighting (Zhou et al., 2024).
	Weighted bool
	// Desirable and Undesirable weigh the two kinds of kto's answers.
	Desirable, Undesirable float64
}

// Check refuses options that contradict themselves.
func (o PreferenceOptions) Check() error {
	if len(o.LossTypes) == 0 {
		return fmt.Errorf("loss_type: none given")
	}
	if n := len(o.LossWeights); n > 0 && n != len(o.LossTypes) {
		return fmt.Errorf("loss_weights: %d weights for %d values of loss_type", n, len(o.LossTypes))
	}
	for _, name := range o.LossTypes {
		alone := name == "orpo" || name == "cpo" || name == "simpo" || unpairedLoss(name)
		switch {
		case alone && len(o.LossTypes) > 1:
			return fmt.Errorf("loss_type: %s cannot be combined with others; it stands alone", name)
		case !alone && pairTerms[name] == nil && sortedTerms[name] == nil && name != "sft":
			return fmt.Errorf("loss_type %q is not known; known are %s", name, strings.Join(lossTypes(), ", "))
		case name == "exo_pair" && o.Smoothing == 0:
			return fmt.Errorf("loss_type exo_pair needs a label_smoothing above 0: it takes its logarithm")
		case alone && o.Weighted:
			return fmt.Errorf("use_weighting is not defined for loss_type %s", name)
		}
	}
	if o.Beta <= 0 && slices.ContainsFunc(o.LossTypes, func(n string) bool { return n == "ipo" || n == "sppo_hard" || n == "simpo" }) {
		return fmt.Errorf("beta %g: %s divides by it; it must be above 0", o.Beta, strings.Join(o.LossTypes, ", "))
	}
	return nil
}

func lossTypes() []string {
	names := []string{"sft", "simpo", "cpo", "orpo", "kto", "apo_zero_unpaired"}
	names = append(slices.AppendSeq(names, maps.Keys(pairTerms)), slices.Collect(maps.Keys(sortedTerms))...)
	slices.Sort(names)
	return names
}

func (o PreferenceOptions) is(name string) bool {
	return len(o.LossTypes) == 1 && o.LossTypes[0] == name
}

// ReferenceFree tells whether the loss needs no reference model.
func (o PreferenceOptions) ReferenceFree() bool { return o.is("simpo") || o.is("cpo") || o.is("orpo") }

// Unpaired tells whether the loss is over single answers, labelled desirable or not, instead of pairs.
func (o PreferenceOptions) Unpaired() bool { return unpairedLoss(o.LossTypes[0]) }

func unpairedLoss(name string) bool { return name == "kto" || name == "apo_zero_unpaired" }

// answers are what is known of n answers of one kind, summed over their tokens.
type answers struct {
	logp, ref []float64 // log-likelihoods by policy and reference
	tokens    []float64 // of the answer
	// d receives the derivative of the summed loss by logp.
	d []float64
	// weight is WPO's weight of the answer, nil for 1.
	weight []float64
	// prompt and promptTokens are the log-likelihood and the number of the prompt's tokens, dPrompt the derivative (orpo).
	prompt, promptTokens, dPrompt []float64
}

func newAnswers(n int) answers {
	return answers{
		logp: make([]float64, n), ref: make([]float64, n), tokens: make([]float64, n), d: make([]float64, n),
		prompt: make([]float64, n), promptTokens: make([]float64, n), dPrompt: make([]float64, n),
	}
}

func (a *answers) ratio(i int) float64 { return a.logp[i] - a.ref[i] }

// part is a term of the loss of one pair, and its derivatives by the log-likelihoods of the chosen and the rejected answer.
type part struct{ loss, chosen, rejected float64 }

// byDelta is the part of a loss that depends on the difference of both ratios.
func byDelta(loss, derivative float64) part { return part{loss, derivative, -derivative} }

// smooth is −(1−ε)·log σ(x) − ε·log σ(−x) and its derivative by x.
func smooth(x, eps float64) (loss, d float64) {
	return -(1-eps)*logSigmoid(x) - eps*logSigmoid(-x), -(1-eps)*sigmoid(-x) + eps*sigmoid(x)
}

// pairTerms are the losses of one pair, with c and r the log-ratios of policy and reference, nc and nr the answers' tokens.
// Sources: see the names of TRL's DPOConfig.loss_type.
var pairTerms = map[string]func(o *PreferenceOptions, c, r, nc, nr float64) part{
	"sigmoid": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x := o.Beta * (c - r)
		return byDelta(-logSigmoid(x), -o.Beta*sigmoid(-x))
	},
	"hinge": func(o *PreferenceOptions, c, r, _, _ float64) part {
		if x := 1 - o.Beta*(c-r); x > 0 {
			return byDelta(x, -o.Beta)
		}
		return part{}
	},
	"ipo": func(o *PreferenceOptions, c, r, nc, nr float64) part {
		x := c/nc - r/nr - 1/(2*o.Beta)
		return part{x * x, 2 * x / nc, -2 * x / nr}
	},
	"robust": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x, e := o.Beta*(c-r), o.Smoothing
		loss := (-(1-e)*logSigmoid(x) + e*logSigmoid(-x)) / (1 - 2*e)
		return byDelta(loss, o.Beta*(-(1-e)*sigmoid(-x)-e*sigmoid(x))/(1-2*e))
	},
	"exo_pair": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x := o.Beta * (c - r)
		p, q := sigmoid(x), sigmoid(-x)
		a, b := logSigmoid(x)-math.Log1p(-o.Smoothing), logSigmoid(-x)-math.Log(o.Smoothing)
		// d(p·a + q·b)/dx = p·q·(a − b): the terms of the logarithms' derivatives cancel.
		return byDelta(p*a+q*b, o.Beta*p*q*(a-b))
	},
	"bco_pair": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x, y := o.Beta*c, o.Beta*r
		return part{-logSigmoid(x) - logSigmoid(-y), -o.Beta * sigmoid(-x), o.Beta * sigmoid(y)}
	},
	"nca_pair": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x, y := o.Beta*c, o.Beta*r
		loss := -logSigmoid(x) - 0.5*logSigmoid(-x) - 0.5*logSigmoid(-y)
		return part{loss, o.Beta * (-sigmoid(-x) + 0.5*sigmoid(x)), o.Beta * 0.5 * sigmoid(y)}
	},
	"sppo_hard": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x, y := c-0.5/o.Beta, r+0.5/o.Beta
		return part{x*x + y*y, 2 * x, 2 * y}
	},
	"apo_zero": func(o *PreferenceOptions, c, r, _, _ float64) part {
		p, q := sigmoid(o.Beta*c), sigmoid(o.Beta*r)
		return part{1 - p + q, -o.Beta * p * (1 - p), o.Beta * q * (1 - q)}
	},
	"apo_down": func(o *PreferenceOptions, c, r, _, _ float64) part {
		p, q := sigmoid(o.Beta*c), sigmoid(o.Beta*(c-r))
		dp, dq := o.Beta*p*(1-p), o.Beta*q*(1-q)
		return part{p + 1 - q, dp - dq, dq}
	},
	"discopop": func(o *PreferenceOptions, c, r, _, _ float64) part {
		x := o.Beta * (c - r)
		w := sigmoid(x / o.DiscopopTau)
		logistic, exponential := -logSigmoid(x), math.Exp(-x)
		dw := w * (1 - w) / o.DiscopopTau
		return byDelta(logistic*(1-w)+exponential*w, o.Beta*(-sigmoid(-x)*(1-w)-logistic*dw-exponential*w+exponential*dw))
	},
	"sigmoid_norm": func(o *PreferenceOptions, c, r, nc, nr float64) part {
		x := o.Beta * (c/nc - r/nr)
		d := -o.Beta * sigmoid(-x)
		return part{-logSigmoid(x), d / nc, -d / nr}
	},
}

// sortedTerms are AOT's losses (Melnyk et al., 2024): quantiles of one distribution are compared with those of another. Each
// gives what is sorted on either side of pair i, and the signs by which the left and the right value depend on the
// log-likelihoods of its chosen and rejected answer.
var sortedTerms = map[string]func(chosen, rejected *answers, i int) (left, right float64, dl, dr [2]float64){
	"aot": func(c, r *answers, i int) (float64, float64, [2]float64, [2]float64) {
		return c.logp[i] - r.logp[i], c.ref[i] - r.ref[i], [2]float64{1, -1}, [2]float64{}
	},
	"aot_unpaired": func(c, r *answers, i int) (float64, float64, [2]float64, [2]float64) {
		return c.ratio(i), r.ratio(i), [2]float64{1, 0}, [2]float64{0, 1}
	},
}

// PairLoss returns the sum of the losses of pairs and adds its derivatives to chosen.d, rejected.d and chosen.dPrompt.
func (o *PreferenceOptions) pairLoss(chosen, rejected *answers) (loss, nll float64) {
	n := len(chosen.logp)
	switch {
	case o.is("orpo"):
		return o.orpo(chosen, rejected)
	case o.is("cpo"), o.is("simpo"):
		return o.contrastive(chosen, rejected)
	}
	for t, name := range o.LossTypes {
		weight := 1.0
		if len(o.LossWeights) > 0 {
			weight = o.LossWeights[t]
		}
		// scale is what pair i's term is multiplied by.
		scale := func(i int) float64 {
			if chosen.weight == nil {
				return weight
			}
			return weight * chosen.weight[i] * rejected.weight[i]
		}
		switch {
		case name == "sft":
			nll += o.likelihood(chosen, scale, &loss)
		case sortedTerms[name] != nil:
			loss += o.sortedLoss(name, chosen, rejected, scale)
		default:
			term := pairTerms[name]
			for i := range n {
				p := term(o, chosen.ratio(i), rejected.ratio(i), max(1, chosen.tokens[i]), max(1, rejected.tokens[i]))
				loss += scale(i) * p.loss
				chosen.d[i] += scale(i) * p.chosen
				rejected.d[i] += scale(i) * p.rejected
			}
		}
	}
	return loss, nll
}

// likelihood adds the chosen answers' mean −log p a token, once for every pair, to loss, and returns it.
func (o *PreferenceOptions) likelihood(chosen *answers, scale func(int) float64, loss *float64) (nll float64) {
	var logp, tokens, scales float64
	for i := range chosen.logp {
		logp += chosen.logp[i]
		tokens += chosen.tokens[i]
		scales += scale(i)
	}
	tokens = max(1, tokens)
	for i := range chosen.d {
		chosen.d[i] -= scales / tokens
	}
	*loss -= scales * logp / tokens
	return -float64(len(chosen.logp)) * logp / tokens
}

func (o *PreferenceOptions) sortedLoss(name string, chosen, rejected *answers, scale func(int) float64) (loss float64) {
	n := len(chosen.logp)
	left, right := make([]float64, n), make([]float64, n)
	dl, dr := make([][2]float64, n), make([][2]float64, n)
	for i := range n {
		left[i], right[i], dl[i], dr[i] = sortedTerms[name](chosen, rejected, i)
	}
	li, ri := ascending(left), ascending(right)
	for k := range n {
		l, d := smooth(o.Beta*(left[li[k]]-right[ri[k]]), o.Smoothing)
		loss += scale(k) * l // by place, as TRL does
		d *= o.Beta * scale(k)
		chosen.d[li[k]] += d * dl[li[k]][0]
		rejected.d[li[k]] += d * dl[li[k]][1]
		chosen.d[ri[k]] -= d * dr[ri[k]][0]
		rejected.d[ri[k]] -= d * dr[ri[k]][1]
	}
	return loss
}

// ascending returns the indices of x from the smallest value to the largest.
func ascending(x []float64) []int {
	idx := make([]int, len(x))
	for i := range idx {
		idx[i] = i
	}
	slices.SortStableFunc(idx, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	return idx
}

// contrastive is CPO (Xu et al., 2024) on summed and SimPO (Meng et al., 2024) on mean log-likelihoods, without a reference.
func (o *PreferenceOptions) contrastive(chosen, rejected *answers) (loss, nll float64) {
	for i := range chosen.logp {
		nc, nr, gamma := 1.0, 1.0, 0.0
		if o.is("simpo") {
			nc, nr, gamma = max(1, chosen.tokens[i]), max(1, rejected.tokens[i]), o.SimpoGamma
		}
		l, d := smooth(o.Beta*(chosen.logp[i]/nc-rejected.logp[i]/nr)-gamma, 0)
		loss += l
		chosen.d[i] += o.Beta * d / nc
		rejected.d[i] -= o.Beta * d / nr
	}
	if o.CPOAlpha != 0 {
		nll = o.likelihood(chosen, func(int) float64 { return o.CPOAlpha }, &loss)
	}
	return loss, nll
}

// orpo is the odds-ratio loss (Hong et al., 2024): the chosen prompt's and answer's mean −log p a token, minus
// β·log σ(log odds of the chosen − log odds of the rejected), odds of the mean log-likelihood of the answer's tokens.
func (o *PreferenceOptions) orpo(chosen, rejected *answers) (loss, nll float64) {
	var logp, tokens float64
	n := len(chosen.logp)
	for i := range n {
		logp += chosen.logp[i] + chosen.prompt[i]
		tokens += chosen.tokens[i] + chosen.promptTokens[i]
		nc, nr := max(1, chosen.tokens[i]), max(1, rejected.tokens[i])
		lc, dc := logOdds(chosen.logp[i] / nc)
		lr, dr := logOdds(rejected.logp[i] / nr)
		loss -= o.Beta * logSigmoid(lc-lr)
		d := -o.Beta * sigmoid(lr-lc)
		chosen.d[i] += d * dc / nc
		rejected.d[i] -= d * dr / nr
	}
	tokens = max(1, tokens)
	for i := range n {
		chosen.d[i] -= float64(n) / tokens
		chosen.dPrompt[i] -= float64(n) / tokens
	}
	nll = -float64(n) * logp / tokens
	return loss + nll, nll
}

// logOdds returns log(p/(1−p)) of x = log p < 0, and its derivative by x: 1/(1−p).
func logOdds(x float64) (value, d float64) {
	rest := -math.Expm1(x) // 1−p
	if rest <= 0 {
		rest = math.SmallestNonzeroFloat64
	}
	return x - math.Log(rest), 1 / rest
}

// unpaired is KTO (Ethayarajh et al., 2024), or apo_zero_unpaired, on labelled answers: the sum of their losses, with its
// derivatives added to a.d. kl is the estimate of the divergence from the reference, at least 0; no gradient flows through it.
func (o *PreferenceOptions) unpaired(a *answers, desirable []bool, kl float64) (loss float64) {
	if o.is("apo_zero_unpaired") {
		kl = 0
	}
	for i := range a.logp {
		sign, weight := 1.0, o.Desirable
		if !desirable[i] {
			sign, weight = -1, o.Undesirable
		}
		p := sigmoid(sign * o.Beta * (a.ratio(i) - kl))
		loss += weight * (1 - p)
		a.d[i] -= weight * sign * o.Beta * p * (1 - p)
	}
	return loss
}

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func logSigmoid(x float64) float64 {
	if x >= 0 {
		return -math.Log1p(math.Exp(-x))
	}
	return x - math.Log1p(math.Exp(x))
}
