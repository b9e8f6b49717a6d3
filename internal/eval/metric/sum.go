package metric

import "math"

// sum adds in the order in which numpy adds (pairwise over blocks, eight
// accumulators within a block), so that a mean that lies on the border between
// two printed digits falls to the same side.
func sum(x []float64) float64 {
	n := len(x)
	switch {
	case n < 8:
		s := 0.0
		for _, v := range x {
			s += v
		}
		return s
	case n <= 128:
		r := [8]float64(x[:8])
		i := 8
		for ; i < n-n%8; i += 8 {
			for j := range r {
				r[j] += x[i+j]
			}
		}
		s := ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
		for ; i < n; i++ {
			s += x[i]
		}
		return s
	}
	half := n / 2
	half -= half % 8
	return sum(x[:half]) + sum(x[half:])
}

// Mean is the arithmetic mean, NaN of nothing.
func Mean(x []float64) float64 { return sum(x) / float64(len(x)) }

// average is the mean of the x that are defined (not NaN), weighted where there
// are weights; when those are all zero, it is the plain mean. NaN when none of x
// is defined.
func average(x, weights []float64) float64 {
	var kept, products, w []float64
	for i, v := range x {
		if math.IsNaN(v) {
			continue
		}
		kept = append(kept, v)
		if weights != nil {
			products = append(products, v*weights[i])
			w = append(w, weights[i])
		}
	}
	if total := sum(w); total > 0 {
		return sum(products) / total
	}
	return Mean(kept)
}
