package metric

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type goldenClasses struct {
	Labels []struct {
		Name             string
		Numeric          bool
		Truth, Predicted []string
		Labels           []string
		Confusion        [][]int
		Accuracy         number
		BalancedAccuracy number `json:"balanced_accuracy"`
		MCC              number
		Kappa            []number
		Report           string
		Report41         string `json:"report_4_1"`
		Scores           map[string]struct {
			Classes                [][]number
			Micro, Macro, Weighted []number
		}
	}
	Binary []struct {
		Name    string
		Truth   []int
		Scores  []float64
		ROCAUC  number `json:"roc_auc"`
		AP      number `json:"average_precision"`
		LogLoss number `json:"log_loss"`
		Brier   number
		ECE     []number
	}
	Multiclass []struct {
		Name       string
		Truth      []int
		Scores     [][]float64
		LogLoss    number `json:"log_loss"`
		Brier      number
		ECE        []number
		AUC        []number `json:"roc_auc_None"`
		AUCMacro   number   `json:"roc_auc_macro"`
		AUCWeights number   `json:"roc_auc_weighted"`
		AP         []number `json:"average_precision_None"`
		APMacro    number   `json:"average_precision_macro"`
		APWeights  number   `json:"average_precision_weighted"`
	}
}

func three(s ClassScore) []float64 { return []float64{s.Precision, s.Recall, s.F1} }

func TestConfusionIsScikitLearns(t *testing.T) {
	var g goldenClasses
	load(t, "classes.json", &g)
	for _, c := range g.Labels {
		labels := NewLabels(c.Numeric, c.Truth, c.Predicted)
		if !slices.Equal(labels.Names, c.Labels) {
			t.Errorf("%s: labels %q, want %q", c.Name, labels.Names, c.Labels)
			continue
		}
		m := must[*Confusion](t)(NewConfusion(labels.Codes(c.Truth), labels.Codes(c.Predicted), labels.Names))
		if diff := cmp.Diff(c.Confusion, m.Counts); diff != "" {
			t.Errorf("%s: %s", c.Name, diff)
		}
		near(t, c.Name+" accuracy", m.Accuracy(), c.Accuracy)
		near(t, c.Name+" balanced accuracy", m.BalancedAccuracy(), c.BalancedAccuracy)
		near(t, c.Name+" MCC", m.MCC(), c.MCC)
		for i, w := range []KappaWeights{KappaPlain, KappaLinear, KappaQuadratic} {
			near(t, c.Name+" kappa "+string(w), m.Kappa(w), c.Kappa[i])
		}
		for name, want := range c.Scores {
			zero, err := strconv.ParseFloat(name, 64)
			if err != nil {
				t.Fatal(err)
			}
			what := c.Name + " zero_division " + name
			for i, w := range want.Classes {
				s := m.Class(i, zero)
				nearAll(t, what, append(three(s), float64(s.Support)), w)
			}
			a := m.Average(zero)
			nearAll(t, what+" micro", three(a.Micro), want.Micro)
			nearAll(t, what+" macro", three(a.Macro), want.Macro)
			nearAll(t, what+" weighted", three(a.Weighted), want.Weighted)
		}
		if diff := cmp.Diff(c.Report, m.Report(2, 0)); diff != "" {
			t.Errorf("%s: report: %s", c.Name, diff)
		}
		if diff := cmp.Diff(c.Report41, m.Report(4, 1)); diff != "" {
			t.Errorf("%s: report: %s", c.Name, diff)
		}
	}
}

func TestBinaryScoresAreScikitLearns(t *testing.T) {
	var g goldenClasses
	load(t, "classes.json", &g)
	for _, c := range g.Binary {
		positive := make([]bool, len(c.Truth))
		probs := make([][]float64, len(c.Truth))
		for i, y := range c.Truth {
			positive[i] = y == 1
			probs[i] = []float64{1 - c.Scores[i], c.Scores[i]}
		}
		near(t, c.Name+" AUC", must[float64](t)(ROCAUC(positive, c.Scores)), c.ROCAUC)
		near(t, c.Name+" AP", must[float64](t)(AveragePrecision(positive, c.Scores)), c.AP)
		near(t, c.Name+" log loss", must[float64](t)(LogLoss(c.Truth, probs)), c.LogLoss)
		near(t, c.Name+" Brier", must[float64](t)(Brier(c.Truth, probs)), c.Brier)
		for i, bins := range []int{1, 10, 15} {
			near(t, c.Name+" ECE", must[float64](t)(ECE(c.Truth, probs, bins)), c.ECE[i])
		}
	}
	for _, positive := range [][]bool{{true, true}, {false, false}} {
		if auc := must[float64](t)(ROCAUC(positive, []float64{1, 2})); !math.IsNaN(auc) {
			t.Errorf("AUC of one kind of rows is %g", auc)
		}
	}
}

func TestMulticlassScoresAreScikitLearns(t *testing.T) {
	var g goldenClasses
	load(t, "classes.json", &g)
	for _, c := range g.Multiclass {
		auc := must[OneVsRest](t)(OneVsRestOf(ROCAUC, c.Truth, c.Scores))
		nearAll(t, c.Name+" AUC", auc.Classes, c.AUC)
		near(t, c.Name+" AUC macro", auc.Macro, c.AUCMacro)
		near(t, c.Name+" AUC weighted", auc.Weighted, c.AUCWeights)
		ap := must[OneVsRest](t)(OneVsRestOf(AveragePrecision, c.Truth, c.Scores))
		nearAll(t, c.Name+" AP", ap.Classes, c.AP)
		near(t, c.Name+" AP macro", ap.Macro, c.APMacro)
		near(t, c.Name+" AP weighted", ap.Weighted, c.APWeights)
		near(t, c.Name+" log loss", must[float64](t)(LogLoss(c.Truth, c.Scores)), c.LogLoss)
		near(t, c.Name+" Brier", must[float64](t)(Brier(c.Truth, c.Scores)), c.Brier)
		for i, bins := range []int{1, 10, 15} {
			near(t, c.Name+" ECE", must[float64](t)(ECE(c.Truth, c.Scores, bins)), c.ECE[i])
		}
		if err := CheckProbabilities(c.Scores); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

func TestClassMetricsRefuse(t *testing.T) {
	for name, err := range map[string]error{
		"lengths":    second(NewConfusion([]int{0}, []int{0, 1}, []string{"a", "b"})),
		"no class":   second(NewConfusion([]int{2}, []int{0}, []string{"a", "b"})),
		"unknown":    second(NewConfusion([]int{0}, []int{-1}, []string{"a", "b"})),
		"score":      second(ROCAUC([]bool{true, false}, []float64{1, math.NaN()})),
		"ragged":     second(Brier([]int{0, 1}, [][]float64{{1, 0}, {1}})),
		"classes":    second(LogLoss([]int{2}, [][]float64{{1, 0}})),
		"bins":       second(ECE([]int{0}, [][]float64{{1, 0}}, 0)),
		"logprob":    second(Perplexity([]float64{-1, 0.5})),
		"no logprob": second(Perplexity(nil)),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want ErrInput", name, err)
		}
	}
	for _, rows := range [][][]float64{{{0.5, 0.4}}, {{1.5, -0.5}}, {{math.NaN(), 1}}} {
		if err := CheckProbabilities(rows); !errors.Is(err, ErrNotProbabilities) {
			t.Errorf("%v: %v, want ErrNotProbabilities", rows, err)
		}
	}
}

func TestPerplexity(t *testing.T) {
	near(t, "perplexity", must[float64](t)(Perplexity([]float64{math.Log(0.25), math.Log(0.25), 0})), number(math.Pow(16, 1./3)))
}

func TestSequencesAreSeqevals(t *testing.T) {
	var g []struct {
		Name             string
		Truth, Predicted [][]string
		Accuracy         number
		Modes            map[string]map[string]json.RawMessage
	}
	load(t, "sequences.json", &g)
	for _, c := range g {
		for mode, parts := range c.Modes {
			for _, zero := range []float64{0, 1} {
				what := c.Name + " " + mode + " zero_division " + strconv.Itoa(int(zero))
				s := must[*Sequences](t)(ScoreSequences(c.Truth, c.Predicted, Scheme(mode), zero))
				var want struct {
					Micro, Macro, Weighted []number
					Classes                [][]number
				}
				if err := json.Unmarshal(parts[strconv.Itoa(int(zero))], &want); err != nil {
					t.Fatal(err)
				}
				nearAll(t, what+" micro", three(s.Averages.Micro), want.Micro)
				nearAll(t, what+" macro", three(s.Averages.Macro), want.Macro)
				nearAll(t, what+" weighted", three(s.Averages.Weighted), want.Weighted)
				if len(s.Scores) != len(want.Classes) {
					t.Errorf("%s: types %q, want %d", what, s.Types, len(want.Classes))
					continue
				}
				for i, w := range want.Classes {
					nearAll(t, what+" "+s.Types[i], append(three(s.Scores[i]), float64(s.Scores[i].Support)), w)
				}
				near(t, what+" accuracy", s.Accuracy, c.Accuracy)
				if raw, ok := parts["report"]; ok && zero == 0 {
					var report string
					if err := json.Unmarshal(raw, &report); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(report, s.Report(4)); diff != "" {
						t.Errorf("%s: report: %s", what, diff)
					}
				}
			}
		}
	}
	for name, err := range map[string]error{
		"scheme": second(ScoreSequences([][]string{{"O"}}, [][]string{{"O"}}, "BILOU", 0)),
		"tag":    second(ScoreSequences([][]string{{"E-PER"}}, [][]string{{"O"}}, SchemeIOB2, 0)),
		"length": second(ScoreSequences([][]string{{"O"}}, [][]string{{"O", "O"}}, "", 0)),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want ErrInput", name, err)
		}
	}
}
