package nn

import (
	"math"
	"testing"
)

// The principal part is the best approximation of its rank: what is left has the energy of the other singular values. The random
// decomposition comes close to it, and is the same for one seed.
func TestPrincipalPart(t *testing.T) {
	const out, in, r, scale = 40, 56, 5, 2.0
	u, v := Init{Std: 1}.draw(0, out*out, "u", 1), Init{Std: 1}.draw(0, out*in, "v", 1)
	w := make([]float32, out*in) // singular values that fall off
	for k := range out {
		for i := range out {
			for j := range in {
				w[i*in+j] += u[i*out+k] * v[k*in+j] * float32(math.Pow(0.7, float64(k)))
			}
		}
	}
	rest := func(a, b []float32) (sum float64) {
		x := append([]float32(nil), w...)
		subtract(x, a, b, out, in, r, scale)
		for _, f := range x {
			sum += float64(f) * float64(f)
		}
		return math.Sqrt(sum)
	}
	a, b, err := principalPart(w, out, in, r, scale, 0, "w", 7)
	if err != nil {
		t.Fatal(err)
	}
	best := rest(a, b)
	for i := range a { // any other adapter leaves more
		a[i] *= 1.01
	}
	if worse := rest(a, b); worse <= best {
		t.Errorf("a changed adapter leaves %g, the principal part %g", worse, best)
	}
	a, b, err = principalPart(w, out, in, r, scale, 4, "w", 7)
	if err != nil {
		t.Fatal(err)
	}
	if d := rest(a, b); !(d <= 1.001*best) {
		t.Errorf("the random decomposition leaves %g, the best is %g", d, best)
	}
	again, _, err := principalPart(w, out, in, r, scale, 4, "w", 7)
	if err != nil || math.Float32bits(again[3]) != math.Float32bits(a[3]) {
		t.Errorf("a second run gives %g, the first %g (%v)", again[3], a[3], err)
	}
	w[0] = float32(math.NaN())
	if _, _, err := principalPart(w, out, in, r, scale, 0, "w", 7); err == nil {
		t.Error("a weight that is not finite is accepted")
	}
}
