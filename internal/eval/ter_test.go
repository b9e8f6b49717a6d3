package eval

import (
	"math"
	"testing"
)

// A task's TER is that of all its rows together: here one edit in six words.
func TestTaskTER(t *testing.T) {
	info := metricTable()["ter"]
	got, err := aggregations()[info.aggregation].of([]any{
		texts{[]string{"the cat sat"}, "The cat sat"},
		texts{[]string{"a b c", "x y z"}, "x y w"},
	})
	if err != nil || math.Abs(got-100./6) > 1e-12 || info.higher {
		t.Errorf("%g, %v", got, err)
	}
}
