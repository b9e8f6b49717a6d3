package main

import (
	"fmt"
	"math"

	"github.com/guptarohit/asciigraph"

	"github.com/mltrain/mltrain/internal/train"
)

// curve is a named series of a plot.
type curve struct {
	name   string
	points []train.Point
}

// plotsOf picks what to plot of a run: the metrics asked for, or the losses, the learning rate and the gradient norm.
func plotsOf(r *train.Record, metrics []string) [][]curve {
	var out [][]curve
	if len(metrics) > 0 {
		for _, m := range metrics {
			out = append(out, []curve{{m, r.Series(m)}})
		}
		return out
	}
	losses := []curve{{"loss", r.Series("loss")}}
	if s := r.Series("eval_loss"); len(s) > 0 {
		losses = append(losses, curve{"eval_loss", s})
	}
	out = append(out, losses)
	for _, m := range []string{"learning_rate", "grad_norm"} {
		if s := r.Series(m); len(s) > 1 {
			out = append(out, []curve{{m, s}})
		}
	}
	return out
}

// plot draws curves over their steps. Several are told apart by the letters they are drawn with.
func plot(o *RunsOptions, curves []curve) (string, error) {
	if o.Width < 10 || o.Height < 2 {
		return "", usageErrorf("--width %d, --height %d: needed are at least 10 columns and 2 lines", o.Width, o.Height)
	}
	lo, hi := math.MaxInt, math.MinInt
	for _, c := range curves {
		for _, p := range c.points {
			lo, hi = min(lo, p.Step), max(hi, p.Step)
		}
	}
	if lo > hi {
		return "", fmt.Errorf("nothing is logged under %s", curves[0].name)
	}
	data := make([][]float64, len(curves))
	caption := ""
	var chars []asciigraph.CharSet
	for i, c := range curves {
		data[i] = resample(c.points, lo, hi, o.Width)
		if len(curves) == 1 {
			caption = c.name
			break
		}
		letter := string(rune('a' + i%26))
		chars = append(chars, asciigraph.CreateCharSet(letter))
		caption += fmt.Sprintf("  %s %s", letter, c.name)
	}
	opts := []asciigraph.Option{
		asciigraph.Height(o.Height), asciigraph.Caption(fmt.Sprintf("%s, steps %d to %d", caption, lo, hi)),
		asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%.4g", v) }),
	}
	if len(chars) > 0 {
		opts = append(opts, asciigraph.SeriesChars(chars...))
	}
	return asciigraph.PlotMany(data, opts...), nil
}

// resample gives a series a value in each of n columns from step lo to hi, by straight lines between its points, and NaN before the
// first and after the last.
func resample(points []train.Point, lo, hi, n int) []float64 {
	out := make([]float64, n)
	k := 0
	for i := range out {
		out[i] = math.NaN()
		x := float64(lo) + float64(hi-lo)*float64(i)/float64(n-1)
		for k+1 < len(points) && float64(points[k+1].Step) <= x {
			k++
		}
		if len(points) == 0 || x < float64(points[0].Step) {
			continue
		}
		p := points[k]
		if k+1 == len(points) {
			if x == float64(p.Step) {
				out[i] = p.Value
			}
			continue
		}
		q := points[k+1]
		out[i] = p.Value + (q.Value-p.Value)*(x-float64(p.Step))/float64(q.Step-p.Step)
	}
	// A lone point between two columns would vanish.
	if len(points) == 1 {
		at := 0
		if hi > lo {
			at = (points[0].Step - lo) * (n - 1) / (hi - lo)
		}
		out[at] = points[0].Value
	}
	return out
}
