package quant_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/mltrain/mltrain/internal/quant"
)

// Nearest finds what a search of all codes finds.
func TestNearestIsNearest(t *testing.T) {
	for _, signed := range []bool{true, false} {
		table := quant.States(signed)
		check := func(t interface{ Fatalf(string, ...any) }, v float32) {
			got, best := table.Nearest(v), math.Inf(1)
			for _, c := range table.Code {
				best = math.Min(best, math.Abs(float64(v)-float64(c)))
			}
			// The midpoint is rounded to float32: at it either side may win, by at most a unit in the last place of v.
			if d := math.Abs(float64(v) - float64(table.Code[got])); d > best+math.Abs(float64(v))*0x1p-23 {
				t.Fatalf("signed %v: %g becomes %g, %g away; the nearest is %g away", signed, v, table.Code[got], d, best)
			}
		}
		for _, c := range table.Code {
			check(t, c)
			if table.Code[table.Nearest(c)] != c {
				t.Errorf("signed %v: code %g becomes %g", signed, c, table.Code[table.Nearest(c)])
			}
		}
		for i, c := range table.Code[1:] {
			v := float32((float64(table.Code[i]) + float64(c)) / 2)
			check(t, v)
			check(t, math.Nextafter32(v, -2))
			check(t, math.Nextafter32(v, 2))
		}
		rapid.Check(t, func(t *rapid.T) {
			v := rapid.Float32Range(-1, 1).Draw(t, "v")
			if !signed {
				v = float32(math.Abs(float64(v)))
			}
			check(t, v)
			check(t, v*1e-4)
			check(t, v*1e-7)
		})
	}
}

func TestStatesRoundTrip(t *testing.T) {
	table := quant.States(true)
	x := make([]float32, 700)
	for i := range x {
		x[i] = float32(math.Sin(float64(i))) * float32(math.Exp(float64(i%50)/5-5))
	}
	clear(x[256:512])
	codes, absmax := make([]byte, len(x)), make([]float32, quant.Blocks(len(x), quant.StateBlock))
	table.EncodeState(codes, absmax, x)
	y := make([]float32, len(x))
	table.DecodeState(y, codes, absmax)
	for i := range x {
		if d := math.Abs(float64(x[i] - y[i])); d > 0.036*math.Abs(float64(x[i]))+1e-6*float64(absmax[i/256]) && d > 0.0071*float64(absmax[i/256]) {
			t.Fatalf("x[%d] = %g becomes %g (scale %g)", i, x[i], y[i], absmax[i/256])
		}
	}
}
