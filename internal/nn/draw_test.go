package nn

import (
	"runtime"
	"slices"
	"testing"
)

// What is drawn for an element depends on its place alone: not on the parts it is drawn in, nor on the number of cores.
func TestDrawDependsOnThePlaceAlone(t *testing.T) {
	for _, i := range []Init{{Std: 0.02}, {Uniform: 0.5}, {Const: 1}} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		want := i.draw(0, 200_003, "w", 7)
		runtime.GOMAXPROCS(3)
		var got []float32
		for _, part := range [][2]int{{0, 4}, {4, 131_072}, {131_072, 200_003}} {
			got = append(got, i.draw(part[0], part[1], "w", 7)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: parts differ from the whole", i)
		}
		if i.Const == 0 && (want[0] == want[1] || slices.Equal(want[:8], i.draw(0, 8, "v", 7))) {
			t.Errorf("%+v: not random", i)
		}
	}
}
