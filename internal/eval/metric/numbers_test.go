package metric

import (
	"errors"
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

type goldenNumbers struct {
	Columns []struct {
		Name                                     string
		Truth, Predicted                         []float64
		MSE, MAE, R2, Pearson, Spearman, Kendall number
		Huber                                    []number
	}
	Queries []struct {
		Name              string
		Gains, Scores     []float64
		NDCG              map[string]number
		MRR, MAP          *number
		Recall, Precision map[string]number
	}
}

func TestNumbersAreScikitLearnsAndScipys(t *testing.T) {
	var g goldenNumbers
	load(t, "numbers.json", &g)
	for _, c := range g.Columns {
		for name, m := range map[string]struct {
			f    func(a, b []float64) (float64, error)
			want number
		}{
			"mse": {MSE, c.MSE}, "mae": {MAE, c.MAE}, "r2": {R2, c.R2},
			"pearson": {Pearson, c.Pearson}, "spearman": {Spearman, c.Spearman}, "kendall": {Kendall, c.Kendall},
		} {
			near(t, c.Name+" "+name, must[float64](t)(m.f(c.Truth, c.Predicted)), m.want)
		}
		for i, delta := range []float64{1, 0.25} {
			near(t, c.Name+" huber", must[float64](t)(Huber(c.Truth, c.Predicted, delta)), c.Huber[i])
		}
	}
}

func TestRankingsAreScikitLearns(t *testing.T) {
	var g goldenNumbers
	load(t, "numbers.json", &g)
	checked := 0
	at := func(k string) int {
		n, err := strconv.Atoi(k)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range g.Queries {
		q := Query{c.Gains, c.Scores}
		for k, want := range c.NDCG {
			near(t, c.Name+" nDCG@"+k, must[float64](t)(q.NDCG(at(k))), want)
		}
		if c.MRR == nil {
			continue
		}
		checked++
		near(t, c.Name+" MRR", must[float64](t)(q.ReciprocalRank()), *c.MRR)
		near(t, c.Name+" MAP", must[float64](t)(q.AveragePrecision()), *c.MAP)
		for k, want := range c.Recall {
			near(t, c.Name+" recall@"+k, must[float64](t)(q.RecallAt(at(k))), want)
		}
		for k, want := range c.Precision {
			near(t, c.Name+" precision@"+k, must[float64](t)(q.PrecisionAt(at(k))), want)
		}
	}
	if checked < 2 {
		t.Errorf("only %d queries have a golden MRR", checked)
	}
	missed := Query{[]float64{0, 1, 1}, []float64{2, 1, math.Inf(-1)}}
	near(t, "MRR", must[float64](t)(missed.ReciprocalRank()), 0.5)
	near(t, "recall", must[float64](t)(missed.RecallAt(10)), 0.5)
	near(t, "MAP", must[float64](t)(missed.AveragePrecision()), 0.25)
	near(t, "nDCG", must[float64](t)(missed.NDCG(0)), number(discount(1)/(discount(0)+discount(1))))
	none := Query{[]float64{0, 0}, []float64{1, 2}}
	if rr := must[float64](t)(none.ReciprocalRank()); rr != 0 {
		t.Errorf("reciprocal rank without a relevant item: %g", rr)
	}
	if r := must[float64](t)(none.RecallAt(1)); !math.IsNaN(r) {
		t.Errorf("recall without a relevant item: %g", r)
	}
}

func TestNumberMetricsRefuse(t *testing.T) {
	one := []float64{1}
	for name, err := range map[string]error{
		"lengths":  second(MSE(one, []float64{1, 2})),
		"nothing":  second(Pearson(nil, nil)),
		"nan":      second(MAE(one, []float64{math.NaN()})),
		"infinity": second(R2([]float64{math.Inf(1)}, one)),
		"delta":    second(Huber(one, one, 0)),
		"gains":    second(Query{[]float64{-1}, one}.NDCG(0)),
		"items":    second(Query{one, nil}.ReciprocalRank()),
		"rank":     second(Query{one, one}.RecallAt(0)),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want ErrInput", name, err)
		}
	}
}

// Kendall's τ by merge sort is that of the definition over all pairs.
func TestKendallIsThatOfAllPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "n")
		draw := func(name string) []float64 {
			x := make([]float64, n)
			for i := range x {
				x[i] = float64(rapid.IntRange(0, 6).Draw(t, name))
			}
			return x
		}
		x, y := draw("x"), draw("y")
		var excess, untiedX, untiedY float64
		for i := range x {
			for j := range i {
				dx, dy := x[i]-x[j], y[i]-y[j]
				if dx != 0 {
					untiedX++
				}
				if dy != 0 {
					untiedY++
				}
				if dx*dy > 0 {
					excess++
				} else if dx*dy < 0 {
					excess--
				}
			}
		}
		got, err := Kendall(x, y)
		if err != nil {
			t.Fatal(err)
		}
		want := excess / math.Sqrt(untiedX*untiedY)
		if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > 1e-12 {
			t.Fatalf("tau of %v and %v is %g, want %g", x, y, got, want)
		}
	})
}
