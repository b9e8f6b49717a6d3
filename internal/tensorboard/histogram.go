package tensorboard

import (
	"math"
	"sort"
)

// Histogram counts values in buckets that grow by a tenth, from 1e-12 to 1e20 on either side of zero: those of TensorFlow.
// Values that are not finite are left out. The zero Histogram is empty.
type Histogram struct {
	min, max, num, sum, squares float64
	counts                      []float64 // by bucket; nil before the first value
	limits                      []float64
}

// bucketLimits returns the upper limits of the buckets, ascending.
func bucketLimits() []float64 {
	var positive []float64
	for v := 1e-12; v < 1e20; v *= 1.1 {
		positive = append(positive, v)
	}
	limits := make([]float64, 0, 2*len(positive)+2)
	for i := len(positive) - 1; i >= 0; i-- {
		limits = append(limits, -positive[i])
	}
	limits = append(limits, 0)
	limits = append(limits, positive...)
	return append(limits, math.MaxFloat64)
}

// Add counts a value.
func (h *Histogram) Add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if h.counts == nil {
		h.limits = bucketLimits()
		h.counts = make([]float64, len(h.limits))
		h.min, h.max = v, v
	}
	h.min, h.max = min(h.min, v), max(h.max, v)
	h.num++
	h.sum += v
	h.squares += v * v
	h.counts[sort.SearchFloat64s(h.limits, v)]++
}

// encode writes a HistogramProto, without the empty buckets at either end.
func (h *Histogram) encode() message {
	var m message
	for i, v := range []float64{h.min, h.max, h.num, h.sum, h.squares} {
		m.double(i+1, v)
	}
	lo, hi := 0, len(h.counts)
	for lo < hi && h.counts[lo] == 0 {
		lo++
	}
	for hi > lo && h.counts[hi-1] == 0 {
		hi--
	}
	// A bucket begins where the one before it ends, so one empty bucket marks the beginning of the first.
	lo = max(0, lo-1)
	m.doubles(6, h.limits[lo:hi])
	m.doubles(7, h.counts[lo:hi])
	return m
}
