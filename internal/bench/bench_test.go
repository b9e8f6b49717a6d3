package bench

import (
	"testing"

	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
)

// Every shape is one of a model that mltrain has; nothing is allocated.
func TestShapes(t *testing.T) {
	for _, shape := range Shapes() {
		raw, err := Config(shape)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := model.New(raw, nn.NewBuilder(nn.Options{}), model.Options{Positions: 16}); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
	}
}

// Sequences of different lengths have all tokens, and no two beginnings are the same.
func TestUneven(t *testing.T) {
	for _, n := range []int{1, 16, 17, 64, 16384} {
		cu := uneven(n)
		for i := range len(cu) - 1 {
			if cu[i] >= cu[i+1] {
				t.Errorf("%d: %v", n, cu)
			}
		}
		if cu[0] != 0 || int(cu[len(cu)-1]) != n {
			t.Errorf("%d: %v", n, cu)
		}
	}
}
